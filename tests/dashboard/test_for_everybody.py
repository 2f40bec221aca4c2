"""The dashboard for everybody: by keyboard, on a telephone, in the dark, read aloud; in a real browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.dashboard.visiting import charge, home

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.dashboard.conftest import OpenPage
    from tests.server.conftest import Organization, Running

MOST_STEPS = 60
DARK = 0.2
LIGHT = 0.8


def brightness(page: Page) -> float:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / (3 * 255)


def walk_to(page: Page, field: Locator) -> None:
    """Press the key that leads from field to field until this one has the focus, which is always seen."""
    seen = []
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        seen.append(focused.evaluate("element => getComputedStyle(element).outlineStyle"))
        if field.evaluate("element => element === document.activeElement"):
            break
    expect(field).to_be_focused()
    assert set(seen) == {"solid"}, "the focus cannot be seen"


def test_the_keyboard_is_enough(organization: Organization, open_page: OpenPage) -> None:
    page = open_page(f"{home(organization)}/members", session=organization.sessions["owner"])
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    walk_to(page, page.get_by_label(f"Credits for {organization.member}"))
    page.keyboard.type("10")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("The credits were allocated.")
    expect(page.get_by_role("row", name=organization.member)).to_contain_text("110")


def test_the_keyboard_is_enough_for_the_plan_and_a_cap(
    organization: Organization, open_page: OpenPage
) -> None:
    page = open_page(home(organization), session=organization.sessions["owner"])
    walk_to(page, page.get_by_label("Plan", exact=True))
    page.keyboard.type("hybrid")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("The plan was changed.")
    expect(page.get_by_role("region", name="Subscription").locator("dd").first).to_have_text("hybrid")
    walk_to(page, page.get_by_label("At most"))
    page.keyboard.type("30")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("The cap was set.")
    expect(page.get_by_role("region", name="Caps of the organisation")).to_contain_text("30 a month")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_follow_the_colour_scheme(organization: Organization, open_page: OpenPage, scheme: Any) -> None:
    page = open_page(session=organization.sessions["member"], color_scheme=scheme)
    is_dark = scheme == "dark"
    assert (brightness(page) < DARK) is is_dark
    assert (brightness(page) > LIGHT) is not is_dark


def test_a_telephone_scrolls_down_only(
    server: Running, organization: Organization, open_page: OpenPage
) -> None:
    charge(server, organization, service_type="s" * 100, service_name="n" * 255)
    root = organization.sessions["system_admin"]
    screens = [("/dashboard/login", None), ("/dashboard", organization.sessions["member"])]
    screens += [(home(organization) + rest, root) for rest in ("", "/members", "/charges", "/history")]
    for path, session in (*screens, (f"/dashboard/system?q={organization.org_id}", root)):
        page = open_page(path, session=session, viewport={"width": 320, "height": 640})
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 320, f"{path} is {width} wide"


def test_every_field_and_chart_has_a_name(
    server: Running, organization: Organization, open_page: OpenPage
) -> None:
    charge(server, organization)
    for rest in ("", "/members", "/charges"):
        page = open_page(home(organization) + rest, session=organization.sessions["owner"])
        for role in ("textbox", "combobox", "button", "link", "img", "table", "progressbar"):
            for each in page.get_by_role(role).all():
                expect(each).to_have_accessible_name(re.compile(r"\S"))
        assert page.get_by_role("heading", level=1).count() == 1
