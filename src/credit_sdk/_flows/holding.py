"""Act on a hold that is known by its id only: either ledger may keep it."""

from typing import Any, Literal
from uuid import UUID

from credit_sdk._flows.retrying import Retries, retrying
from credit_sdk._flows.steps import Flow
from credit_sdk._ledgers import ORGANIZATIONS, USERS, hold_fields, ledger_of
from credit_sdk.errors import (
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    UnexpectedResponseError,
)
from credit_sdk.models import Hold
from credit_sdk.operations import parse

# The users' ledger knows no such hold, is not there, or is none of the caller's business.
_NOT_THERE = (NotFoundError, PermissionDeniedError, ConfigurationError, UnexpectedResponseError)

Action = Literal["look", "extend", "capture", "void"]


def acting_on(hold: Hold | UUID | str, action: Action, fields: dict[str, Any], retries: Retries) -> Flow[Any]:
    """Look at a hold, extend, capture or void it. A bare id is looked for among organisations first."""
    if isinstance(hold, Hold):
        kind = getattr(ledger_of(hold.org_id), action)
        return (yield from retrying(parse(kind, hold_fields(hold) | fields), retries))
    named = {"hold_id": hold, **fields}
    try:
        return (yield from retrying(parse(getattr(ORGANIZATIONS, action), named), retries))
    except NotFoundError as unknown:
        try:
            return (yield from retrying(parse(getattr(USERS, action), named), retries))
        except _NOT_THERE:
            raise unknown from None
