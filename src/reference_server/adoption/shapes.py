"""The tables of the first system that are adopted, and what of each column is needed.

Whatever its own types are, each table is read through a temporary view `old_<table>` that has all of the
columns here in one type each; a table or column that a database does not have is empty there.
"""

from __future__ import annotations

from dataclasses import dataclass

_TEXTS = frozenset({"varchar", "text", "bpchar", "citext"})
_INTEGERS = frozenset({"int2", "int4", "int8"})


@dataclass(frozen=True)
class Kind:
    """What a column may be at the first system, and what it is read as."""

    accepted: frozenset[str]
    read_as: str
    described: str


ID = Kind(frozenset({"uuid"}), "uuid", "UUID")
KEY = Kind(_TEXTS | _INTEGERS | {"uuid"}, "text", "text or UUID")
NUMBER = Kind(_INTEGERS, "bigint", "an integer")
AMOUNT = Kind(_INTEGERS, "bigint", "an integer (millicredits)")
CREDITS = Kind(_INTEGERS | {"numeric"}, "numeric", "an integer or NUMERIC")
MONEY = Kind(_INTEGERS | {"numeric"}, "numeric", "NUMERIC")
TEXT = Kind(_TEXTS | {"uuid", "enum"}, "text", "text")
FLAG = Kind(frozenset({"bool"}), "boolean", "BOOLEAN")
MOMENT = Kind(frozenset({"timestamptz", "timestamp"}), "timestamptz", "TIMESTAMPTZ")
DOCUMENT = Kind(frozenset({"json", "jsonb"}), "jsonb", "JSONB")


@dataclass(frozen=True)
class Shape:
    """A table: the columns that it must have, those that it may have, and those that follow from others."""

    required: dict[str, Kind]
    optional: dict[str, Kind]
    derived: frozenset[str] = frozenset()

    @property
    def columns(self) -> dict[str, Kind]:
        """All columns that are read."""
        return self.required | self.optional


_WRITTEN = {"created_at": MOMENT, "updated_at": MOMENT}

SHAPES = {
    "organizations": Shape(
        {"id": KEY, "name": TEXT},
        {
            "display_name": TEXT,
            "slug": TEXT,
            "plan_tier": TEXT,
            "max_seats": NUMBER,
            "status": TEXT,
            **_WRITTEN,
        },
    ),
    "organization_members": Shape(
        {"org_id": KEY, "user_id": KEY}, {"role": TEXT, "is_default": FLAG, "joined_at": MOMENT}
    ),
    "organization_subscriptions": Shape(
        {"id": ID, "org_id": KEY, "subscription_plan": TEXT},
        {
            "monthly_price": MONEY,
            "billing_cycle": TEXT,
            "status": TEXT,
            "trial_ends_at": MOMENT,
            "current_period_start": MOMENT,
            "current_period_end": MOMENT,
            "canceled_at": MOMENT,
            "stripe_subscription_id": TEXT,
            "lago_subscription_id": TEXT,
            **_WRITTEN,
        },
    ),
    "organization_credit_pools": Shape(
        {"org_id": KEY, "total_credits": AMOUNT},
        {
            "allocated_credits": AMOUNT,
            "used_credits": AMOUNT,
            "monthly_refresh_amount": AMOUNT,
            "last_refresh_date": MOMENT,
            "next_refresh_date": MOMENT,
            "allow_overage": FLAG,
            "overage_limit": AMOUNT,
            "overage_rate": MONEY,
            "lifetime_purchased_credits": AMOUNT,
            "lifetime_spent_amount": MONEY,
            **_WRITTEN,
        },
        frozenset({"available_credits"}),
    ),
    "user_credit_allocations": Shape(
        {"id": ID, "org_id": KEY, "user_id": KEY, "allocated_credits": AMOUNT, "used_credits": AMOUNT},
        {
            "is_active": FLAG,
            "reset_period": TEXT,
            "last_reset_date": MOMENT,
            "next_reset_date": MOMENT,
            "allocated_by": TEXT,
            "notes": TEXT,
            **_WRITTEN,
        },
        frozenset({"remaining_credits"}),
    ),
    "credit_usage_attribution": Shape(
        {"id": ID, "org_id": KEY, "user_id": KEY, "credits_used": AMOUNT, "service_type": TEXT},
        {
            "allocation_id": ID,
            "service_name": TEXT,
            "api_cost": MONEY,
            "markup_applied": MONEY,
            "request_id": TEXT,
            "request_metadata": DOCUMENT,
            "created_at": MOMENT,
        },
        frozenset({"total_cost"}),
    ),
    "org_billing_history": Shape(
        {"id": ID, "org_id": KEY, "event_type": TEXT},
        {
            "subscription_id": ID,
            "amount": MONEY,
            "currency": TEXT,
            "payment_status": TEXT,
            "payment_method": TEXT,
            "paid_at": MOMENT,
            "period_start": MOMENT,
            "period_end": MOMENT,
            "event_metadata": DOCUMENT,
            "notes": TEXT,
            "created_at": MOMENT,
        },
    ),
    "users": Shape(
        {"id": NUMBER, "email": TEXT},
        {
            "subject": TEXT,
            "name": TEXT,
            "password_hash": TEXT,
            "credits": CREDITS,
            "user_type": TEXT,
            "is_active": FLAG,
            "created_at": MOMENT,
        },
    ),
    "credits_transactions": Shape(
        {"id": NUMBER, "user_id": NUMBER, "amount": CREDITS},
        {
            "description": TEXT,
            "transaction_type": TEXT,
            "transaction_metadata": DOCUMENT,
            "service_type": TEXT,
            "service_name": TEXT,
            "request_id": TEXT,
            "created_at": MOMENT,
        },
        frozenset({"balance_after"}),
    ),
}

HOME = {name: "credit_pools" if name == "organization_credit_pools" else name for name in SHAPES}
"""The table of the books that a table's rows come to."""


def view_of(table: str, present: frozenset[str] | None) -> str:
    """Return the statement that makes `old_<table>`; `present` are the table's columns, None for no table."""
    fields = ", ".join(
        f"{column if column in (present or ()) else 'NULL'}::{kind.read_as} AS {column}"
        for column, kind in SHAPES[table].columns.items()
    )
    source = "" if present is None else f" FROM public.{table}"
    none = " WHERE FALSE" if present is None else ""
    # Names of this file and no others.
    return f"CREATE TEMPORARY VIEW old_{table} AS SELECT {fields}{source}{none}"
