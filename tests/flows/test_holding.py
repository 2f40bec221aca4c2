"""A hold that is known by its id only is looked for in both ledgers."""

from uuid import uuid4

import pytest

from credit_sdk import Retries
from credit_sdk._flows import acting_on
from credit_sdk.errors import (
    ConfigurationError,
    HoldClosedError,
    NotFoundError,
    PermissionDeniedError,
    UnexpectedResponseError,
)
from credit_sdk.operations import CaptureBalanceHold, CaptureHold


@pytest.mark.parametrize(
    "answer", [NotFoundError, PermissionDeniedError, ConfigurationError, UnexpectedResponseError]
)
def test_unknown_to_organisations_and_out_of_reach_among_users_it_is_unknown(
    answer: type[Exception],
) -> None:
    """A key of one organisation may not look among users, and an older server has none."""
    flow = acting_on(uuid4(), "capture", {}, Retries(attempts=1))
    assert isinstance(next(flow), CaptureHold)
    unknown = NotFoundError("There is no such hold here.")
    assert isinstance(flow.throw(unknown), CaptureBalanceHold)
    with pytest.raises(NotFoundError) as caught:
        flow.throw(answer())
    assert caught.value is unknown


def test_what_users_ledger_says_of_its_own_hold_is_told() -> None:
    flow = acting_on(uuid4(), "capture", {}, Retries(attempts=1))
    next(flow)
    flow.throw(NotFoundError())
    with pytest.raises(HoldClosedError):
        flow.throw(HoldClosedError())


def test_what_organisations_say_of_their_own_hold_is_told_at_once() -> None:
    flow = acting_on(uuid4(), "capture", {}, Retries(attempts=1))
    next(flow)
    with pytest.raises(HoldClosedError):
        flow.throw(HoldClosedError())
