"""What every test run shares: skips can be forbidden, and slow tests name themselves."""

from __future__ import annotations

import os

import pytest

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With FORBID_SKIPS (set where everything can be installed) a skipped test is a failed run."""
    if _skipped and os.environ.get("FORBID_SKIPS"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
