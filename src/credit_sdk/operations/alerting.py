"""Watch figures, say where alerts are sent, and look ahead."""

from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from credit_sdk import models
from credit_sdk.amounts import Credits
from credit_sdk.identifiers import new_request_id
from credit_sdk.operations._base import LARGEST_PAGE, Cursor, Operation, OrgId, RequestId, UserId, Whole

_URL = (
    r"^(https://[A-Za-z0-9][A-Za-z0-9.-]{0,252}|http://(localhost|127\.0\.0\.1))"
    r"(:[1-9][0-9]{0,4})?(/[\x21-\x7e]{0,1500})?$"
)
WebhookUrl = Annotated[str, Field(min_length=8, max_length=2_000, pattern=_URL)]
"""An https address. http is for this machine itself, and for servers that are told to allow it."""
Events = Annotated[tuple[models.WebhookEvent, ...], Field(min_length=1, max_length=5)]


class ListAlerts(Operation[models.AlertList]):
    """List what is watched in an organisation, and which alerts are open."""

    org_id: OrgId


class SetAlert(Operation[models.AlertList]):
    """Watch a figure; without a threshold, watch it no more.

    An alert is raised once when the figure crosses the threshold, and again only after it was back.
    `subject` is a member's id; without one it is the organisation as a whole, or for `allocation.low` every
    member. The threshold is in credits, in days for `exhaustion.near`, and for `spend.spike` it is how many
    times the usual is too much. Repeating it changes nothing.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"properties": {"kind": {"const": "pool.low"}, "subject": {"type": "null"}}},
                {"properties": {"kind": {"enum": ["allocation.low", "spend.spike", "exhaustion.near"]}}},
            ]
        }
    )

    org_id: OrgId
    kind: models.AlertKind
    subject: UserId | None = None
    threshold: Credits | None = None
    updated_by: UserId | None = None

    @model_validator(mode="after")
    def _leaves_out_the_subject_of_a_pool(self) -> "SetAlert":
        if self.kind == "pool.low" and self.subject is not None:
            raise ValueError("the pool belongs to no member: leave subject out")
        return self


class CreateWebhook(Operation[models.NewWebhook]):
    """Have alerts sent to an address, as signed webhooks (Standard Webhooks). The answer shows the secret."""

    idempotency = "request_id"

    org_id: OrgId
    url: WebhookUrl
    events: Events
    request_id: RequestId = Field(default_factory=new_request_id)


class ListWebhooks(Operation[models.WebhookList]):
    """List the addresses to which an organisation's alerts are sent."""

    org_id: OrgId


class DeleteWebhook(Operation[models.WebhookList]):
    """Send no more alerts to an address. Repeating it changes nothing; the answer is what is left."""

    org_id: OrgId
    webhook_id: UUID


class TestWebhook(Operation[models.WebhookDelivery]):
    """Send a test to an address. What became of it is in the list of deliveries."""

    __test__ = False

    org_id: OrgId
    webhook_id: UUID


class ListWebhookDeliveries(Operation[models.WebhookDeliveryPage]):
    """List what was sent, and what is to be sent, newest first."""

    org_id: OrgId
    webhook_id: UUID | None = None
    status: models.DeliveryStatus | None = None
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), Whole] = 100
    cursor: Cursor | None = None


class RedeliverWebhook(Operation[models.WebhookDelivery]):
    """Send a webhook again, whatever became of it, under the id that it has."""

    org_id: OrgId
    delivery_id: UUID
