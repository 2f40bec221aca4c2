"""Set caps on what may be spent, and look at them."""

from pydantic import ConfigDict, model_validator

from credit_sdk import models
from credit_sdk.amounts import Credits
from credit_sdk.operations._base import Operation, OrgId, UserId


class SetCap(Operation[models.CapList]):
    """Set the most that may be spent in one period; without credits, remove the cap.

    `subject` is the id of the member or of the API key; an organisation's own cap has none. What was spent
    and is held in the present period counts at once. Repeating it changes nothing.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"properties": {"scope": {"const": "organization"}, "subject": {"type": "null"}}},
                {
                    "required": ["subject"],
                    "properties": {
                        "scope": {"enum": ["member", "api_key"]},
                        "subject": {"type": "string"},
                    },
                },
            ]
        }
    )

    org_id: OrgId
    scope: models.CapScope
    subject: UserId | None = None
    period: models.CapPeriod
    credits: Credits | None = None
    updated_by: UserId | None = None

    @model_validator(mode="after")
    def _names_its_subject(self) -> "SetCap":
        if self.scope == "organization" and self.subject is not None:
            raise ValueError("an organisation's own cap has no subject")
        if self.scope != "organization" and self.subject is None:
            raise ValueError(f"a cap of scope {self.scope} needs its subject, the id of what it is for")
        return self


class ListCaps(Operation[models.CapList]):
    """List an organisation's caps, with what is used of each."""

    org_id: OrgId
