"""From Stripe's events to facts: what of an event matters here, in whichever version of the API it is told.

Whose payment it is, and what was sold, stands in our own tables; `metadata` is not looked at. But for one
thing: which top-up a payment is, which is compared with what the tables say of it.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

Facts = dict[str, Any]


def _id_of(value: object) -> object:
    """Return the id of what Stripe names by its id, or shows as a whole."""
    return value.get("id") if isinstance(value, dict) else value


def _rows(value: object) -> object:
    """Return the rows of a list object."""
    return value.get("data") if isinstance(value, dict) else value or []


Id = Annotated[str, BeforeValidator(_id_of), Field(min_length=1, max_length=255)]
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
Cents = Annotated[int, Field(ge=0, le=10**15)]


class Event(BaseModel):
    """The envelope of every event."""

    id: Annotated[str, Field(min_length=1, max_length=255)]
    type: Annotated[str, Field(min_length=1, max_length=100)]
    created: Annotated[int, Field(ge=0, le=10**11)]


class _Session(BaseModel):
    id: Id
    customer: Id | None = None
    client_reference_id: str | None = None
    payment_status: str
    payment_intent: Id | None = None
    currency: str | None = None
    amount_total: Cents | None = None


class _PriceDetails(BaseModel):
    price: Id | None = None


class _Pricing(BaseModel):
    price_details: _PriceDetails | None = None


class _Prorated(BaseModel):
    proration: bool = False


class _LineParent(BaseModel):
    invoice_item_details: _Prorated | None = None
    subscription_item_details: _Prorated | None = None


class _Line(BaseModel):
    quantity: int | None = None
    proration: bool = False
    price: Id | None = None
    plan: Id | None = None
    pricing: _Pricing | None = None
    parent: _LineParent | None = None

    @property
    def price_id(self) -> str | None:
        details = self.pricing.price_details if self.pricing else None
        return (details.price if details else None) or self.price or self.plan

    @property
    def is_prorated(self) -> bool:
        parent = self.parent or _LineParent()
        details = (parent.invoice_item_details, parent.subscription_item_details)
        return self.proration or any(each.proration for each in details if each)


class _PaidBy(BaseModel):
    payment_intent: Id | None = None
    charge: Id | None = None

    @property
    def payment_id(self) -> str | None:
        return self.payment_intent or self.charge


class _InvoicePayment(BaseModel):
    invoice: Id
    payment: _PaidBy


class _Invoice(_PaidBy):
    id: Id
    customer: Id | None = None
    status: str | None = None
    currency: str | None = None
    total: int | None = None
    lines: Annotated[list[_Line], BeforeValidator(_rows)] = []
    payments: Annotated[list[_InvoicePayment], BeforeValidator(_rows)] = []


class _Charge(BaseModel):
    id: Id
    payment_intent: Id | None = None
    amount_refunded: Cents


class _PaymentError(BaseModel):
    code: str | None = None


class _Intent(BaseModel):
    id: Id
    customer: Id | None = None
    currency: str | None = None
    amount_received: Cents = 0
    last_payment_error: _PaymentError | None = None
    cancellation_reason: str | None = None
    metadata: dict[str, str] = {}

    @property
    def top_up_id(self) -> str | None:
        named = self.metadata.get("top_up", "")
        return named if _UUID.fullmatch(named) else None


class _Dispute(BaseModel):
    id: Id
    charge: Id | None = None
    payment_intent: Id | None = None
    amount: Cents
    status: str


class _Item(BaseModel):
    price: Id | None = None
    plan: Id | None = None
    current_period_start: int | None = None
    current_period_end: int | None = None


class _Subscription(BaseModel):
    id: Id
    customer: Id
    status: Annotated[str, Field(max_length=30)]
    items: Annotated[list[_Item], BeforeValidator(_rows)] = []
    current_period_start: int | None = None
    current_period_end: int | None = None
    cancel_at_period_end: bool = False
    canceled_at: int | None = None


def facts_of(kind: str, subject: object) -> Facts:
    """Return what an event of a type says about its subject; `unreadable` for what Stripe never sends."""
    reader = _READERS.get(kind)
    if reader is None:
        return {"kind": None}
    try:
        return reader(subject)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        return {"kind": "unreadable", "detail": f"The event cannot be read: {where}: {first['msg']}."}


def _session(subject: object, ended: str | None = None) -> Facts:
    session = _Session.model_validate(subject)
    return {
        "kind": "session",
        "session_id": session.id,
        "customer_id": session.customer,
        "reference": session.client_reference_id,
        "payment_status": session.payment_status,
        "payment_ids": [session.payment_intent] if session.payment_intent else [],
        "currency": session.currency,
        "amount_cents": session.amount_total,
        "ended": ended,
    }


def _invoice(subject: object) -> Facts:
    invoice = _Invoice.model_validate(subject)
    paid_by = {invoice.payment_id, *(row.payment.payment_id for row in invoice.payments)}
    return {
        "kind": "invoice",
        "invoice_id": invoice.id,
        "customer_id": invoice.customer,
        "status": invoice.status,
        "currency": invoice.currency,
        "amount_cents": invoice.total,
        "payment_ids": sorted(filter(None, paid_by)),
        "lines": [
            {"price_id": line.price_id, "quantity": 1 if line.quantity is None else line.quantity}
            for line in invoice.lines
            if line.price_id and not line.is_prorated
        ],
    }


def _invoice_payment(subject: object) -> Facts:
    paid = _InvoicePayment.model_validate(subject)
    payment_id = paid.payment.payment_id
    if payment_id is None:
        return {"kind": None}
    return {"kind": "payment", "invoice_id": paid.invoice, "payment_id": payment_id}


def _intent(subject: object, kind: str) -> Facts:
    intent = _Intent.model_validate(subject)
    return {
        "kind": kind,
        "intent_id": intent.id,
        "top_up_id": intent.top_up_id,
        "customer_id": intent.customer,
        "currency": intent.currency,
        "amount_cents": intent.amount_received,
        "reason": (intent.last_payment_error or _PaymentError()).code or intent.cancellation_reason,
    }


def _refund(subject: object) -> Facts:
    charge = _Charge.model_validate(subject)
    return {
        "kind": "reversal",
        "reversal": "refund",
        "reversal_id": charge.id,
        "payment_id": charge.payment_intent or charge.id,
        "amount_cents": charge.amount_refunded,
        "is_closed": False,
    }


def _dispute(subject: object, *, is_closed: bool = False) -> Facts:
    dispute = _Dispute.model_validate(subject)
    # Of an inquiry (`warning_...`) no money is withdrawn.
    is_withdrawn = dispute.status != "won" and not dispute.status.startswith("warning_")
    return {
        "kind": "reversal",
        "reversal": "dispute",
        "reversal_id": dispute.id,
        "payment_id": dispute.payment_intent or dispute.charge or dispute.id,
        "amount_cents": dispute.amount if is_withdrawn else 0,
        "is_closed": is_closed,
    }


def _subscription(subject: object) -> Facts:
    subscription = _Subscription.model_validate(subject)
    item = subscription.items[0] if subscription.items else _Item()
    return {
        "kind": "subscription",
        "subscription_id": subscription.id,
        "customer_id": subscription.customer,
        "price_id": item.price or item.plan,
        "status": subscription.status,
        # Newer versions of the API say the period with the item.
        "current_period_start": subscription.current_period_start or item.current_period_start,
        "current_period_end": subscription.current_period_end or item.current_period_end,
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "canceled_at": subscription.canceled_at,
    }


_READERS: Mapping[str, Callable[[object], Facts]] = {
    "checkout.session.completed": _session,
    "checkout.session.async_payment_succeeded": _session,
    "checkout.session.async_payment_failed": lambda subject: _session(subject, ended="failed"),
    "checkout.session.expired": lambda subject: _session(subject, ended="expired"),
    # Stripe sends both; the invoice counts once.
    "invoice.paid": _invoice,
    "invoice.payment_succeeded": _invoice,
    "invoice_payment.paid": _invoice_payment,
    "payment_intent.succeeded": lambda subject: _intent(subject, "top_up"),
    "payment_intent.payment_failed": lambda subject: _intent(subject, "top_up_failed"),
    # Of one that was under way: it would stay open, and nothing would be bought any more.
    "payment_intent.canceled": lambda subject: _intent(subject, "top_up_failed"),
    "charge.refunded": _refund,
    "charge.dispute.created": _dispute,
    "charge.dispute.updated": _dispute,
    "charge.dispute.funds_withdrawn": _dispute,
    "charge.dispute.closed": lambda subject: _dispute(subject, is_closed=True),
    "customer.subscription.created": _subscription,
    "customer.subscription.updated": _subscription,
    "customer.subscription.paused": _subscription,
    "customer.subscription.resumed": _subscription,
    "customer.subscription.deleted": _subscription,
}
