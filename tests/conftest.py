"""What every test run shares: the versions of Monero to run on, and that skips can be forbidden.

$MONERO_BIN_DIRS (folders with the programs, separated like $PATH) or $MONERO_BIN_DIR narrows the choice; otherwise
everything that scripts/get-monero fetched is used, or an installed Monero. None at all is a failure, not a skip.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from monero_escrow.monero.programs import (
    FOLDER_VARIABLE,
    MoneroPrograms,
    ProgramsMissingError,
    fetched_folders,
    find_programs,
    programs_in,
)
from monero_escrow.monero.versions import LEAST_SUPPORTED
from shared_postgres import SharedPostgres

# Where a run decides whether a change may land, the same examples are tried every time; elsewhere new ones are.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With FORBID_SKIPS (set where everything can be installed) a skipped test is a failed run."""
    if _skipped and os.environ.get("FORBID_SKIPS"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def installed_programs() -> list[MoneroPrograms | None]:
    named = os.environ.get("MONERO_BIN_DIRS") or os.environ.get(FOLDER_VARIABLE)
    folders = [Path(folder) for folder in named.split(os.pathsep)] if named else fetched_folders()
    found = [programs for folder in folders if (programs := programs_in(folder)) is not None]
    enough = [programs for programs in found if programs.version >= LEAST_SUPPORTED]
    if not enough and not named:
        try:
            enough = [find_programs()]
        except ProgramsMissingError:
            return [None]
    return [*sorted(enough, key=lambda programs: programs.version, reverse=True)] or [None]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked so runs on the newest Monero alone: what differs between versions, the conformance suite pins."""
    left_out = [item for item in items if item.get_closest_marker("newest_monero") and _on_an_older_monero(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _on_an_older_monero(item: pytest.Item) -> bool:
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    programs = parameters.get("programs")
    return isinstance(programs, MoneroPrograms) and programs != installed_programs()[0]


def _id(programs: MoneroPrograms | None) -> str:
    return str(programs.version) if programs else "no-monero"


@pytest.fixture(scope="session", params=installed_programs(), ids=_id)
def programs(request: pytest.FixtureRequest) -> MoneroPrograms:
    if request.param is None:
        pytest.fail(ProgramsMissingError.what_to_do)
    programs: MoneroPrograms = request.param
    return programs


@pytest.fixture(scope="session")
def postgres() -> Iterator[SharedPostgres]:
    """A PostgreSQL server of this run's own (of this worker's, with several), started when a test first asks for it."""
    with SharedPostgres() as server:
        yield server


@pytest.fixture
def empty_database(postgres: SharedPostgres) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    with postgres.database(migrated=False) as url:
        yield url


@pytest.fixture
def database_url(postgres: SharedPostgres) -> Iterator[str]:
    """The URL of a database with this version's tables; it is nobody's yet: of no network, under no key."""
    with postgres.database(migrated=True) as url:
        yield url
