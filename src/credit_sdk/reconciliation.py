"""Compare an application's own record of its operations with what was charged. No I/O.

    findings = reconcile(recorded, booked(charges))

Both sides come sorted by organisation and request id and are merged: of neither is more kept in memory
than one request. Amounts are credits. What a finding proposes is safe to carry out again: the missing
charge has the request id of its operation, refunds and new charges have ids that follow from what they
correct.
"""

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from heapq import merge
from itertools import groupby
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, ValidationInfo

from credit_sdk.amounts import Balance, parse_price, to_millicredits, to_number
from credit_sdk.models import Charge
from credit_sdk.operations import Deduct, OrgId, Refund, RequestId, UserId, parse
from credit_sdk.operations._base import Moment, ServiceType

Kind: TypeAlias = Literal["missing", "extra", "different", "duplicate", "waiting"]
Key: TypeAlias = tuple[str, str]
"""An organisation and a request id."""

LONGEST_ID = 255
_CORRECTION = re.compile(r"(?P<request_id>.+)~corrected[0-9]+", re.ASCII)


def _cost(value: object, info: ValidationInfo) -> Decimal:
    return parse_price(value, argument=info.field_name or "credits")


class Recorded(BaseModel):
    """An operation as the application recorded it.

    `credits` is what it should have been charged, zero for nothing; an operation that is not done
    should not have been charged either. `line` is where the record says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    org_id: OrgId
    request_id: RequestId
    user_id: UserId
    service_type: ServiceType
    credits: Annotated[
        Decimal, PlainValidator(_cost), PlainSerializer(to_number, return_type=int | float, when_used="json")
    ]
    is_done: bool = True
    time: Moment | None = None
    line: int | None = None

    @property
    def key(self) -> Key:
        """By what it is found among the charges."""
        return self.org_id, self.request_id


class Booked(BaseModel):
    """A charge, with what of it was refunded.

    `request_id` is that of the operation; a charge that corrects another has the other's.
    """

    model_config = ConfigDict(frozen=True)

    org_id: str
    request_id: str
    charge_id: UUID
    user_id: str
    service_type: str
    credits: Balance
    refunded: Balance
    created_at: datetime

    @property
    def key(self) -> Key:
        """By what it is found in the record."""
        return self.org_id, self.request_id

    @property
    def net(self) -> Decimal:
        """What was taken and not given back."""
        return self.credits - self.refunded


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` on, before `until`; None is open. Charges outside are nobody's extra."""

    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, moment: datetime) -> bool:
        """Whether a moment is in the period."""
        return (self.since is None or self.since <= moment) and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True)
class Finding:
    """Where the record and the charges do not say the same about a request.

    missing    it was done and is not charged
    extra      it is charged and was not done, or is not in the record
    different  it is charged, but not so: `fields` says what is not the same
    duplicate  the record has it as done more than once; the first one counts
    waiting    it was done, and its charge is still in the outbox: no difference yet

    `corrections` would make the charges fit the record, carried out in this order.
    """

    kind: Kind
    org_id: str
    request_id: str
    recorded: tuple[Recorded, ...] = ()
    booked: tuple[Booked, ...] = ()
    fields: tuple[str, ...] = ()
    corrections: tuple[Deduct | Refund, ...] = ()

    @property
    def is_unrecorded(self) -> bool:
        """Whether the record knows nothing of the request: it may be another application's."""
        return not self.recorded


def booked(charges: Iterable[Charge]) -> Iterator[Booked]:
    """Return the charges of a list that is newest first, as the service lists them, with their refunds.

    A refund is younger than its charge, so that it is known by the time the charge comes.
    """
    refunded: dict[UUID, Decimal] = {}
    for charge in charges:
        if charge.refund_of is not None:
            refunded[charge.refund_of] = refunded.get(charge.refund_of, Decimal(0)) - charge.credits_used
            continue
        correction = _CORRECTION.fullmatch(charge.request_id)
        yield Booked(
            org_id=charge.org_id,
            request_id=correction["request_id"] if correction else charge.request_id,
            charge_id=charge.charge_id,
            user_id=charge.user_id,
            service_type=charge.service_type,
            credits=charge.credits_used,
            refunded=refunded.pop(charge.charge_id, Decimal(0)),
            created_at=charge.created_at,
        )


def reconcile(
    recorded: Iterable[Recorded],
    booked: Iterable[Booked],
    *,
    waiting: Container[Key] = (),
    period: Period | None = None,
    services: Container[str] | None = None,
) -> Iterator[Finding]:
    """Return what differs, by organisation and request id, in which order both sides must be.

    `waiting` are the keys of charges in the outbox. Charges for other services than `services` are
    nobody's extra: they are those of another application. Raises `ValueError` when a side is not sorted.
    """
    period = period or Period()
    last: Key | None = None
    sides: tuple[Iterable[Recorded | Booked], ...] = (recorded, booked)
    for key, group in groupby(merge(*sides, key=_key), key=_key):
        if last is not None and key < last:
            raise ValueError(f"not sorted by organisation and request id: {key} comes after {last}")
        last = key
        items = list(group)
        records = [item for item in items if isinstance(item, Recorded)]
        books = [item for item in items if isinstance(item, Booked)]
        yield from _compare(records, books, is_waiting=key in waiting, period=period, services=services)


def _key(item: Recorded | Booked) -> Key:
    return item.key


def _compare(
    records: list[Recorded],
    books: list[Booked],
    *,
    is_waiting: bool,
    period: Period,
    services: Container[str] | None,
) -> Iterator[Finding]:
    org_id, request_id = records[0].key if records else books[0].key
    done = [record for record in records if record.is_done]
    live = tuple(book for book in books if book.net > 0)
    if len(done) > 1:
        yield Finding("duplicate", org_id, request_id, recorded=tuple(done))
    if not done or not done[0].credits:
        strays = live if records else tuple(book for book in live if _is_ours(book, period, services))
        if strays:
            refunds = tuple(_refund(book, book.net) for book in strays)
            yield Finding("extra", org_id, request_id, tuple(records), strays, corrections=refunds)
    elif not live and is_waiting:
        yield Finding("waiting", org_id, request_id, (done[0],))
    elif not books:
        if done[0].time is None or done[0].time in period:
            yield Finding("missing", org_id, request_id, (done[0],), corrections=(_charge(done[0]),))
    elif fields := _differing(done[0], live):
        yield Finding(
            "different", org_id, request_id, (done[0],), tuple(books), fields, _corrections(done[0], books)
        )


def _is_ours(book: Booked, period: Period, services: Container[str] | None) -> bool:
    """Whether the record ought to know of a charge."""
    return book.created_at in period and (services is None or book.service_type in services)


def _differing(wanted: Recorded, live: tuple[Booked, ...]) -> tuple[str, ...]:
    differs = {
        "credits": sum(book.net for book in live) != wanted.credits,
        "user_id": any(book.user_id != wanted.user_id for book in live),
        "service_type": any(book.service_type != wanted.service_type for book in live),
    }
    return tuple(name for name, is_so in differs.items() if is_so)


def _corrections(wanted: Recorded, books: list[Booked]) -> tuple[Deduct | Refund, ...]:
    """Return refunds down to what is right, or else of everything and then a new charge."""
    live = [book for book in books if book.net > 0]
    kept = next((book for book in live if _covers(book, wanted)), None)
    surplus = ((book, book.net - wanted.credits if book is kept else book.net) for book in live)
    refunds = tuple(_refund(book, credits) for book, credits in surplus if credits)
    if kept is not None:
        return refunds
    request_id = f"{wanted.request_id}~corrected{len(books)}"
    # Such an id has no room for what would say that it was corrected: a person's decision.
    return (*refunds, _charge(wanted, request_id)) if len(request_id) <= LONGEST_ID else ()


def _covers(book: Booked, wanted: Recorded) -> bool:
    same = (book.user_id, book.service_type) == (wanted.user_id, wanted.service_type)
    return same and book.net >= wanted.credits


def _charge(wanted: Recorded, request_id: str | None = None) -> Deduct:
    fields = wanted.model_dump(include={"org_id", "user_id", "credits", "service_type"})
    request = {"request_id": request_id or wanted.request_id, "request_metadata": {"reconciled": True}}
    return parse(Deduct, fields | request)


def _refund(book: Booked, credits: Decimal) -> Refund:
    return parse(
        Refund,
        {
            "org_id": book.org_id,
            "charge_id": book.charge_id,
            "credits": credits,
            "reason": "reconciled",
            "idempotency_key": f"reconciled_{book.charge_id}_{to_millicredits(book.refunded)}",
        },
    )
