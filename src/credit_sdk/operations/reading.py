"""Look at what was used, and at what is left."""

from typing import Annotated

from pydantic import Field

from credit_sdk import models
from credit_sdk.operations._base import (
    LARGEST_PAGE,
    Cursor,
    Moment,
    Operation,
    OrgId,
    ServiceType,
    UserId,
    Whole,
)


class GetUserCredits(Operation[models.UserCredits]):
    """Look at a user's standing in all their organisations."""

    user_id: UserId


class GetUserBilling(Operation[models.UserBilling]):
    """Look at the billing screen of a user, or of whoever a session belongs to.

    `session_digest` is the SHA-256 of the session token; over HTTP the session itself travels as a cookie.
    """

    user_id: UserId | None = None
    session_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class GetUsage(Operation[models.Usage]):
    """Sum an organisation's usage of the last days."""

    org_id: OrgId
    days: Annotated[int, Field(ge=1, le=366), Whole] = 30


class ListCharges(Operation[models.ChargePage]):
    """List an organisation's charges and refunds, newest first."""

    org_id: OrgId
    user_id: UserId | None = None
    service_type: ServiceType | None = None
    since: Moment | None = None
    until: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), Whole] = 100
    cursor: Cursor | None = None
