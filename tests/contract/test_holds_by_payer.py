"""Holds that payers place in person. Only a server says so, hence no test over HTTP: see tests/server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from credit_sdk.contract.harness import Harness, unique
from credit_sdk.errors import IdempotencyConflictError
from credit_sdk.operations import (
    CaptureBalanceHold,
    CaptureHold,
    GetBalanceHold,
    GetHold,
    PlaceBalanceHold,
    PlaceHold,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Place = type[PlaceHold | PlaceBalanceHold]
ENDS: dict[Place, Any] = {PlaceHold: CaptureHold, PlaceBalanceHold: CaptureBalanceHold}
LOOKS: dict[Place, Any] = {PlaceHold: GetHold, PlaceBalanceHold: GetBalanceHold}


@pytest.fixture(params=["memory", "sql"])
def ledger(request: pytest.FixtureRequest, harnesses: Callable[[str, str], Harness]) -> Harness:
    return harnesses(request.param, "blocking")


@pytest.fixture(params=[PlaceHold, PlaceBalanceHold])
def kind(request: pytest.FixtureRequest) -> Place:
    kind: Place = request.param
    return kind


@pytest.fixture
def fields(ledger: Harness, kind: Place) -> dict[str, Any]:
    """What a hold says of its payer, who has credits."""
    job = {"credits": 10, "service_type": "lookup", "request_id": "job-7"}
    if kind is PlaceHold:
        payer = ledger.prepare()
        return job | {"org_id": payer.org_id, "user_id": payer.user_id}
    user_id = unique("user")
    ledger.administrator.add_user(user_id, credits=100)
    return job | {"user_id": user_id}


@pytest.mark.parametrize("by_payer", [None, True])
def test_a_hold_remembers_it_to_the_end(
    ledger: Harness, kind: Place, fields: dict[str, Any], *, by_payer: bool | None
) -> None:
    hold = ledger.execute(kind(**fields, by_payer=by_payer))
    look = LOOKS[kind](hold_id=hold.hold_id)
    assert [hold.by_payer, ledger.execute(look).by_payer] == [bool(by_payer)] * 2
    ledger.execute(ENDS[kind](hold_id=hold.hold_id))
    assert ledger.execute(look).by_payer == bool(by_payer)


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("by_payer", [None, True])
def test_it_is_answered_to_its_like_only(
    ledger: Harness, kind: Place, fields: dict[str, Any], *, by_payer: bool | None, captured: bool
) -> None:
    hold = ledger.execute(kind(**fields, by_payer=by_payer))
    if captured:
        ledger.execute(ENDS[kind](hold_id=hold.hold_id))
    with pytest.raises(IdempotencyConflictError):
        ledger.execute(kind(**fields, by_payer=None if by_payer else True))
    assert ledger.execute(kind(**fields, by_payer=by_payer)).replayed
