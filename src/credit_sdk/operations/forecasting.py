"""Look at when credits run out, and at what was left before."""

from typing import Annotated

from pydantic import Field

from credit_sdk import models
from credit_sdk.operations._base import Operation, OrgId, UserId, Whole


class GetForecast(Operation[models.Forecast]):
    """Say when an organisation's credits run out, or those of a member's allocation.

    From what was spent a day in the last `days`, or since the first charge if that is less.
    """

    org_id: OrgId
    user_id: UserId | None = None
    days: Annotated[int, Field(ge=1, le=366), Whole] = 30


class GetBurnDown(Operation[models.BurnDown]):
    """Say what an organisation had left at the end of each of the last days, the present one included."""

    org_id: OrgId
    days: Annotated[int, Field(ge=1, le=366), Whole] = 30
