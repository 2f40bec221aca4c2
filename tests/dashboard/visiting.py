"""What visitors of the dashboard know."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.server.conftest import Organization, Running

PASSWORD = "correct horse battery staple"


def home(organization: Organization) -> str:
    return f"/dashboard/organizations/{organization.org_id}"


def charge(server: Running, organization: Organization, **fields: Any) -> None:
    body = organization.charge(**fields)
    assert server.post("credits/deduct", body, key=organization.keys["consume"]).status_code == 200


def live(page: str, id: str) -> str:
    """Return a figure that the page keeps up to date."""
    found = re.search(rf'id="{id}" data-live>([^<]*)<', page)
    assert found, f"no figure {id}"
    return found[1]
