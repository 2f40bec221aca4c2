"""Alerts, the webhooks that tell of them, and the forecast."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from credit_sdk.amounts import Balance
from credit_sdk.models._base import Result

AlertKind = Literal["pool.low", "allocation.low", "spend.spike", "exhaustion.near"]
WebhookEvent = Literal["pool.low", "allocation.low", "spend.spike", "exhaustion.near", "top_up.failed"]
DeliveryStatus = Literal["pending", "delivered", "dead"]


class AlertRule(Result):
    """What is watched. `subject` is a member's id; None is the organisation, or every member's allocation.

    `threshold` is in credits for `pool.low` and `allocation.low`, in days for `exhaustion.near`, and for
    `spend.spike` it says how many times the usual.
    """

    kind: AlertKind
    subject: str | None = None
    threshold: Balance
    updated_at: datetime


class Alert(Result):
    """A crossing that is not over yet. `value` is what was seen when it was raised."""

    alert_id: UUID
    kind: WebhookEvent
    subject: str | None = None
    threshold: Balance | None = None
    value: Balance | None = None
    detail: str | None = None
    raised_at: datetime


class AlertList(Result):
    """What is watched in an organisation, and which alerts are open."""

    rules: tuple[AlertRule, ...]
    open: tuple[Alert, ...]


class Webhook(Result):
    """An address to which alerts are sent."""

    webhook_id: UUID
    org_id: str
    url: str
    events: tuple[WebhookEvent, ...]
    created_at: datetime


class NewWebhook(Webhook):
    """An endpoint that was made now, with the secret that its webhooks are signed with: keep it."""

    secret: str

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        """Leave the secret out of what is printed."""
        return [(name, value) for name, value in super().__repr_args__() if name != "secret"]


class WebhookList(Result):
    """An organisation's endpoints, the oldest first."""

    webhooks: tuple[Webhook, ...]


class WebhookDelivery(Result):
    """One webhook to one endpoint. `delivery_id` is its `webhook-id`, the same in every attempt.

    A `pending` one is sent at `next_attempt_at`; a `dead` one only when it is asked for again. `alert_id` is
    None for a test.
    """

    delivery_id: UUID
    org_id: str
    webhook_id: UUID
    alert_id: UUID | None = None
    event: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None
    created_at: datetime
    delivered_at: datetime | None = None


class WebhookDeliveryPage(Result):
    """A page of deliveries, newest first; `next_cursor` asks for the next one."""

    items: tuple[WebhookDelivery, ...]
    next_cursor: str | None = None
