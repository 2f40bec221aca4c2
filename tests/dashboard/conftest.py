"""A server, and Chromium to look at its pages with. Nothing but the server can be reached from them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from playwright.sync_api import sync_playwright

from reference_server.passwords import hash_password
from tests.dashboard.visiting import PASSWORD
from tests.server.conftest import (  # noqa: F401 - fixtures
    database,
    demo,
    make_organization,
    organization,
    owner_ledger,
    server,
    server_database,
    shared_organization,
    start_server,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Route

    from tests.server.conftest import Connection, Organization, Running


class OpenPage(Protocol):
    """Opens a page of the dashboard, as whoever the session belongs to."""

    def __call__(self, path: str = "/dashboard", *, session: str | None = None, **options: Any) -> Page: ...


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Playwright's event loop would be in the way of other modules' tests if it ran longer.
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is missing here: these tests look at the dashboard with it")
    # Chromium's sandbox does not start as root.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, server: Running) -> Iterator[OpenPage]:  # noqa: F811
    """Pages that must load nothing from elsewhere, and break no rule of their Content-Security-Policy."""
    contexts, complaints = [], []

    def keep_inside(route: Route) -> None:
        if route.request.url.startswith(server.base_url):
            route.continue_()
        else:
            complaints.append(route.request.url)
            route.abort()

    def open_page(path: str = "/dashboard", *, session: str | None = None, **options: Any) -> Page:
        context = browser.new_context(base_url=server.base_url, **options)
        contexts.append(context)
        context.route("**/*", keep_inside)
        if session:
            context.add_cookies([{"name": "session_token", "value": session, "url": server.base_url}])
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Policy" in said.text else None)
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def owner_email(database: Connection, organization: Organization) -> str:  # noqa: F811
    """The email under which the organisation's owner logs in with `PASSWORD`."""
    email = f"{organization.org_id}@example.com"
    database.execute(
        "insert into users (subject, email, name, password_hash) values (%s, %s, 'Olive Owner', %s)",
        [organization.users["owner"], email, hash_password(PASSWORD)],
    )
    return email
