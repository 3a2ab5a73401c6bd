"""deploy/compose: a file that docker-compose takes, containers that are locked in, and secrets that are files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from monero_escrow.config import Settings, load_settings
from monero_escrow.store.opening import open_postgresql
from prometheus import DEPLOY, ROOT, promtool
from shared_postgres import SharedPostgres
from unit.rows import MASTER_KEY, NETWORK

FOLDER = DEPLOY / "compose"
COMPOSE, DOCKERFILE = FOLDER / "compose.yaml", FOLDER / "Dockerfile"
SERVICES = ("machine", "monerod", "postgres", "service", "prometheus", "grafana")


@cache
def services() -> dict[str, str]:
    """Each service as docker-compose understands it, defaults and anchors filled in, as YAML."""
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("There is no docker-compose: scripts/get-deploy-checkers, as root.")
    done = subprocess.run([program, "-f", COMPOSE, "config"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (section,) = re.findall(r"^services:\n((?:  .*\n)+)", done.stdout, re.M)
    parts = re.split(r"^  ([a-z-]+):\n", section, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_docker_compose_takes_it_and_finds_every_service() -> None:
    assert services().keys() == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_nobody_writes_nothing_and_says_how_it_is(name: str) -> None:
    service = services()[name]
    (user,) = re.findall(r"^    user: '?([0-9:]+)'?$", service, re.M)
    assert int(user.partition(":")[0]) > 0
    assert "    read_only: true\n" in service
    assert "    cap_drop:\n    - ALL\n" in service
    assert "    - no-new-privileges:true\n" in service
    assert "    ulimits:\n      core: 0\n" in service
    assert "    healthcheck:\n" in service
    assert "privileged" not in service.replace("no-new-privileges", "")
    (version,) = re.findall(r"^    image: \S+:(\S+)$", service, re.M)
    assert re.match(r"v?\d+\.\d+", version), "pinned by its version"


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_in_an_environment_and_nothing_listens_beyond_this_machine(name: str) -> None:
    service = services()[name]
    (environment,) = re.findall(r"^    environment:\n((?:      .*\n)+)", service, re.M) or [""]
    for setting, value in re.findall(r"^      (\w+): (.*)$", environment, re.M):
        assert value.startswith("/run/secrets/") or not re.search("PASSWORD|SECRET|TOKEN|KEY|DATABASE_URL", setting)
        assert name != "service" or setting == "MONERO_ESCROW_CONFIG" or setting.lower() in Settings.model_fields
    for published in re.findall(r"^    - (\S+)/tcp$", service, re.M):
        assert published.startswith("127.0.0.1:")


def test_every_file_that_is_mounted_is_there_and_every_secret_of_the_service_is_a_setting() -> None:
    text = COMPOSE.read_text()
    mounted = re.findall(r"^ +- (\.\.?/\S+?):/", text, re.M)
    assert len(mounted) > 5
    assert [path for path in mounted if not (FOLDER / path).is_file()] == []
    (secrets,) = re.findall(r"^    secrets: \[(.*)\]\n    network_mode", text, re.M)
    for name in secrets.split(", "):
        assert name in Settings.model_fields
    settings = re.findall(r"^([A-Z_]+)=", (FOLDER / "settings").read_text(), re.M)
    assert {name.lower() for name in settings} <= Settings.model_fields.keys()
    promtool("check", "config", "--syntax-only", FOLDER / "prometheus.yml")
    ours, example = (file.read_text() for file in (FOLDER / "prometheus.yml", DEPLOY / "prometheus" / "prometheus.yml"))
    job = re.compile(r"job_name: \S+")
    assert job.findall(ours) == job.findall(example)


def test_hadolint_has_nothing_to_say_of_the_image() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_image_copies_goes_to_the_builder_and_nothing_else() -> None:
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE.read_text(), re.M)
        for name in line.split()[:-1]
    }
    ignore = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert ignore[1] == "*"
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_secrets_are_made_once_each_for_the_one_user_that_needs_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("Only root gives files to others.")
    shutil.copy(FOLDER / "make-secrets", tmp_path)
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    made = {file.name: file for file in (tmp_path / "secrets").iterdir()}
    named = re.findall(r"^  (\w+): \{file: \./secrets/(\w+)\}", COMPOSE.read_text(), re.M)
    assert {file for _, file in named} == made.keys()
    owners = {name: re.findall(r"^    user: '?(\d+)", text, re.M)[0] for name, text in services().items()}
    given = {secret: name for name, text in services().items() for secret in re.findall(r"- source: (\w+)\n", text)}
    assert given.keys() == made.keys()
    for secret, name in given.items():
        status = made[secret].stat()
        assert (status.st_uid, status.st_mode & 0o777) == (int(owners[name]), 0o400), secret
    before = {name: file.read_text() for name, file in made.items()}
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    assert {name: file.read_text() for name, file in made.items()} == before
    settings = load_settings(**{name: before[name] for name in ("db_encryption_key", "database_url", "metrics_token")})
    assert len(settings.master_key()) == 32
    assert before["metrics_token_of_prometheus"] == before["metrics_token"]


def test_the_database_it_makes_is_one_the_service_takes_and_its_role_may_do_nothing_else(
    postgres: SharedPostgres, tmp_path: Path
) -> None:
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("There is no psql.")
    admin = urlsplit(postgres.server.admin_url)
    (tmp_path / "password").write_text("it's a 'password'")
    environment = {
        "PATH": os.environ["PATH"],
        "PGHOST": str(admin.hostname),
        "PGPORT": str(admin.port),
        "PGPASSWORD": str(admin.password),
        "POSTGRES_USER": str(admin.username),
        "ESCROW_PASSWORD_FILE": str(tmp_path / "password"),
    }
    subprocess.run([FOLDER / "make-database.sh"], check=True, env=environment, capture_output=True)
    url = f"postgresql://escrow:it%27s%20a%20%27password%27@{admin.hostname}:{admin.port}/escrow?sslmode=disable"
    open_postgresql(url, MASTER_KEY, NETWORK).close()
    asked = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles WHERE rolname = 'escrow'"
    words = [psql, "--no-psqlrc", "-At", "-U", str(admin.username), "-d", "postgres", "-c"]
    rights = subprocess.run([*words, asked], check=True, env=environment, capture_output=True, text=True)
    assert rights.stdout == "f|f|f|f\n"
    for statement in ("DROP DATABASE escrow", "DROP ROLE escrow"):
        subprocess.run([*words, statement], check=True, env=environment, capture_output=True)
