"""The integration guide's code for logging in and for credits runs as it is written there.

Hosts and credentials come from the environment; the address of the user is the guide's own.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.server.conftest import Running

GUIDE = (Path(__file__).parents[1] / "documents" / "integration_guide_http.md").read_text()
STEPS = (
    "Step 2: Authenticate Users",
    "Step 3: Validate Session Token",
    "Step 4: Check Credits via API",
    "Step 5: Consume Credits via API",
)


def block(heading: str) -> str:
    title = re.escape(heading)
    [code] = re.findall(rf"^## {title}\n\n```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    return str(code)


@pytest.fixture
def names(server: Running, demo: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the guide's code finds around it."""
    app = demo["apps"]["whatnot-autoprint"]
    monkeypatch.setenv("API_BASE_URL", server.base_url)
    monkeypatch.setenv("APP_ID", app["app_id"])
    monkeypatch.setenv("API_KEY", app["api_key"])
    return {"__name__": "guide", "required_credits": 5}


def test_all_steps_in_their_order(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for step in STEPS:
        exec(compile(block(step), step, "exec"), names)  # noqa: S102 - the guide's own words
    printed = capsys.readouterr().out
    assert "Authenticated: user@example.com\nUser ID: 123\n" in printed
    assert "sufficient for service" in printed
    balance = names["credit_info"]["current_balance"]
    assert f"Credits consumed. New balance: {balance - 5}" in printed
    assert names["token_data"]["valid"] is True
    assert set(names["permissions"]) >= {"read_credits", "consume_credits"}


def test_a_wrong_password_is_told_as_the_guide_expects(names: dict[str, Any]) -> None:
    exec(compile(block(STEPS[0]), STEPS[0], "exec"), names)  # noqa: S102 - the guide's own words
    with pytest.raises(Exception, match="Authentication failed: Email or password is wrong"):
        names["authenticate_user"]("user@example.com", secrets.token_hex(4))


def test_too_few_credits_are_told_as_the_guide_expects(names: dict[str, Any]) -> None:
    for step in (STEPS[0], STEPS[3]):
        exec(compile(block(step), step, "exec"), names)  # noqa: S102 - the guide's own words
    with pytest.raises(Exception, match="Failed to consume credits: Insufficient credits"):
        names["consume_credits_api"](names["session_token"], 10**6, "autoprint")
