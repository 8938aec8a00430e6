"""What all tests share: the app and the browser, and that in CI a skipped test is a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from browser import App, Visit, chromium, outside
from database import new_store, postgresql, store  # noqa: F401
from playwright.sync_api import Browser

# Node ids that may be skipped in CI, each with its reason.
MAY_BE_SKIPPED: dict[str, str] = {}

# Two threads in all, for one process or for two that share the tests.
torch.set_num_threads(2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)) or 1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") == "true" and item.nodeid not in MAY_BE_SKIPPED:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {call.excinfo}"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    app = App(tmp_path_factory.mktemp("studio"))
    yield app
    app.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, app: App) -> Iterator[Visit]:
    """A page of the app, which at the end has met no error and asked nobody else for anything."""
    with Visit(browser, app.address) as visit:
        yield visit
        assert visit.errors == []
        assert outside(visit.requests) == []
