"""The dashboard as people use it, in a real browser."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from credit_sdk.operations import Allocate
from tests.dashboard.visiting import PASSWORD, charge, home

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from credit_sdk.backends.sql import SqlBackend
    from tests.dashboard.conftest import OpenPage
    from tests.server.conftest import Connection, MakeOrganization, Organization, Running


def log_in(page: Page, email: str, password: str) -> None:
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_an_owner_logs_in_and_allocates_while_a_charge_arrives(
    server: Running, organization: Organization, open_page: OpenPage, owner_email: str
) -> None:
    page = open_page(f"{home(organization)}/members")
    log_in(page, owner_email, "a wrong one")
    expect(page.get_by_text("Email or password is wrong.")).to_be_visible()
    log_in(page, owner_email, PASSWORD)
    page.wait_for_url(f"**{home(organization)}/members")

    row = page.get_by_role("row", name=organization.member)
    row.get_by_label(f"Credits for {organization.member}").fill("25.5")
    row.get_by_role("button", name="Allocate").click()
    expect(page.get_by_role("status")).to_have_text("The credits were allocated.")
    expect(row).to_contain_text("125.5")

    charge(server, organization, credits="5.25")
    expect(row).to_contain_text("120.25")

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_charge_arrives_on_the_screen_of_its_member(
    server: Running, organization: Organization, open_page: OpenPage
) -> None:
    page = open_page(session=organization.sessions["member"])
    expect(page.locator("#remaining")).to_have_text("100")
    charge(server, organization, credits=40, service_type="llm_inference")
    expect(page.locator("#remaining")).to_have_text("60")
    expect(page.get_by_role("region", name="Your last charges")).to_contain_text("llm_inference")


def test_what_is_being_typed_stays_when_figures_change(
    server: Running, organization: Organization, open_page: OpenPage
) -> None:
    page = open_page(f"{home(organization)}/members", session=organization.sessions["owner"])
    field = page.get_by_label(f"Credits for {organization.member}")
    field.fill("12")
    charge(server, organization, credits=5)
    expect(page.get_by_role("row", name=organization.member)).to_contain_text("95")
    expect(field).to_have_value("12")
    expect(field).to_be_focused()


def test_what_is_being_read_stays_open_when_figures_change(
    server: Running, organization: Organization, open_page: OpenPage
) -> None:
    charge(server, organization, credits=5)
    page = open_page(session=organization.sessions["member"])
    page.get_by_text("Usage by day as a table").click()
    charge(server, organization, credits=5)
    expect(page.locator("#remaining")).to_have_text("90")
    expect(page.locator("details")).to_have_attribute("open", "")


def test_it_works_without_javascript(
    server: Running, organization: Organization, open_page: OpenPage
) -> None:
    page = open_page(home(organization), session=organization.sessions["owner"], java_script_enabled=False)
    page.get_by_label("Credits", exact=True).fill("50")
    page.get_by_role("button", name="Add to the pool").click()
    expect(page.locator("#pool-total")).to_have_text("1,050")
    charge(server, organization, credits=5)
    page.reload()
    expect(page.locator("#left")).to_have_text("1,045")


def test_an_administrator_changes_the_plan_and_the_caps(
    server: Running, organization: Organization, open_page: OpenPage
) -> None:
    page = open_page(home(organization), session=organization.sessions["admin"])
    page.get_by_label("Plan", exact=True).select_option("platform")
    page.get_by_role("button", name="Subscribe").click()
    expect(page.get_by_role("status")).to_have_text("The plan was changed.")
    page.get_by_label("Plan", exact=True).select_option("hybrid")
    page.get_by_role("button", name="Change the plan").click()
    expect(page.get_by_role("region", name="Subscription").locator("dd").first).to_have_text("hybrid")

    caps = page.get_by_role("region", name="Caps of the organisation")
    page.get_by_label("Period of the cap").select_option("day")
    page.get_by_label("At most").fill("30")
    page.get_by_role("button", name="Set the cap").click()
    expect(caps.get_by_role("listitem")).to_have_text("30 a day, 0 used")
    charge(server, organization, credits=5)
    expect(caps.get_by_role("listitem")).to_have_text("30 a day, 5 used")
    page.get_by_label("Period of the cap").select_option("day")
    page.get_by_role("button", name="Set the cap").click()
    expect(caps).to_contain_text("may spend all that it has")

    page.get_by_role("link", name="Members").click()
    page.get_by_label("Member", exact=True).select_option(organization.member)
    page.get_by_label("At most").fill("0")
    page.get_by_role("button", name="Set the cap").click()
    field = page.get_by_label("At most")
    expect(field).to_have_accessible_description(
        "In credits. Leave it empty to remove the cap. At most: must be more than zero, not 0."
    )
    expect(page.get_by_label("Member", exact=True)).to_have_value(organization.member)
    field.fill("7")
    page.get_by_role("button", name="Set the cap").click()
    expect(page.get_by_role("row", name=organization.member)).to_contain_text("at most 7 a month")


def test_a_refused_amount_is_explained_at_its_field(organization: Organization, open_page: OpenPage) -> None:
    page = open_page(home(organization), session=organization.sessions["owner"])
    page.get_by_label("Credits", exact=True).fill("-5")
    page.get_by_role("button", name="Add to the pool").click()
    field = page.get_by_label("Credits", exact=True)
    expect(field).to_have_accessible_description("Credits: must be more than zero, not -5.")
    expect(field).to_have_value("-5")
    expect(field).to_be_focused()


def test_charges_are_exported(
    server: Running, organization: Organization, open_page: OpenPage, tmp_path: Path
) -> None:
    for service in ("contact_lookup", "llm_inference"):
        charge(server, organization, service_type=service)
    page = open_page(f"{home(organization)}/charges", session=organization.sessions["owner"])
    page.get_by_label("Service").fill("llm_inference")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("region", name="Charges, newest first")).not_to_contain_text("contact_lookup")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as CSV").click()
    assert download.value.suggested_filename == "charges.csv"
    download.value.save_as(tmp_path / "charges.csv")
    with (tmp_path / "charges.csv").open(newline="") as file:
        assert [row["service_type"] for row in csv.DictReader(file)] == ["llm_inference"]


def test_somebody_in_two_organisations_switches_between_them(
    organization: Organization,
    make_organization: MakeOrganization,
    database: Connection,
    owner_ledger: SqlBackend,
    open_page: OpenPage,
) -> None:
    second = make_organization()
    member = organization.member
    database.execute(
        "insert into organization_members (org_id, user_id, role) values (%s, %s, 'owner')",
        [second.org_id, member],
    )
    owner_ledger.execute(Allocate(org_id=second.org_id, user_id=member, allocated_credits=Decimal(7)))
    page = open_page(session=organization.sessions["member"])
    expect(page.locator("#remaining")).to_have_text("100")
    page.get_by_label("Organisation", exact=True).select_option(second.org_id)
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#remaining")).to_have_text("7")
    page.get_by_role("link", name="Members").click()
    expect(page.get_by_role("heading", name="Members")).to_be_visible()
    page.get_by_label("Organisation", exact=True).select_option(organization.org_id)
    page.get_by_role("button", name="Show").click()
    # A plain member there: the administrator's screens are not theirs.
    expect(page.get_by_role("heading", name="Your credits")).to_be_visible()
    expect(page.get_by_role("link", name="Members")).to_have_count(0)


def test_a_member_cannot_open_an_administrators_screen(
    organization: Organization, open_page: OpenPage
) -> None:
    for path in (home(organization), f"{home(organization)}/members", "/dashboard/system"):
        page = open_page(path, session=organization.sessions["member"])
        expect(page.get_by_role("alert")).to_contain_text("Only")
        expect(page.get_by_role("button", name="Allocate")).to_have_count(0)


def test_a_name_is_text_and_never_a_script(
    server: Running, organization: Organization, database: Connection, open_page: OpenPage
) -> None:
    name = f"<img src=x onerror=alert(1)> {organization.org_id}"
    database.execute("update organizations set name = %s where id = %s", [name, organization.org_id])
    charge(server, organization, service_name="<script>alert(1)</script>")
    page = open_page(session=organization.sessions["member"])
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    expect(page.get_by_role("heading", name=f"In {name}")).to_be_visible()
    expect(page.get_by_text("<script>alert(1)</script>")).to_be_visible()
    assert page.locator("main img, main script").count() == 0


def test_a_session_that_ended_leads_to_the_log_in(
    organization: Organization, database: Connection, open_page: OpenPage
) -> None:
    page = open_page(session=organization.sessions["member"])
    database.execute("update auth_sessions set revoked_at = now() where user_id = %s", [organization.member])
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
