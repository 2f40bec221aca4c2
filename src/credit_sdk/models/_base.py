"""What every answer is."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

HoldStatus = Literal["held", "captured", "voided", "expired"]
ResetPeriod = Literal["daily", "weekly", "monthly", "never"]
Role = Literal["owner", "admin", "billing_admin", "member"]


class Result(BaseModel):
    """A frozen answer. Fields that a newer server adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
