"""Rows of single values as results: as pydantic would have them, which looks at each kind of row once."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ValidationError

from credit_sdk.backends import _rows
from credit_sdk.backends._rows import row_reader
from credit_sdk.models import CreditCheck, Hold, Receipt, Spending

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ID = UUID(int=7)
CHARGE: dict[str, Any] = {
    "charge_id": ID,
    "org_id": "acme",
    "user_id": "ada",
    "credits_used": 1_500,
    "remaining_credits": 0,
    "service_type": "export",
    "service_name": None,
    "request_id": "req_1",
    "created_at": NOW,
    "replayed": False,
}
ROWS: dict[type[BaseModel], dict[str, Any]] = {
    Receipt: CHARGE,
    Spending: CHARGE | {"charge_id": 12, "org_id": None},
    Hold: {
        "hold_id": ID,
        "org_id": "acme",
        "user_id": "ada",
        "credits": 2_000,
        "captured_credits": 0,
        "status": "held",
        "service_type": "export",
        "request_id": "req_1",
        "expires_at": NOW,
        "created_at": NOW,
    },
    CreditCheck: {
        "has_sufficient_credits": True,
        "remaining_credits": 1,
        "available_credits": -1,
        "required_credits": 1,
    },
}


@pytest.fixture(autouse=True)
def _unread() -> None:
    """Have every reader meet its first row."""
    row_reader.cache_clear()


def read(kind: type[BaseModel], row: dict[str, Any]) -> BaseModel:
    return row_reader(kind, tuple(row), 1_000)(tuple(row.values()))


@pytest.mark.parametrize("kind", ROWS)
def test_the_first_row_and_the_next_are_what_pydantic_makes_of_them(kind: type[BaseModel]) -> None:
    expected = kind.model_validate(ROWS[kind], context={"scale": 1_000})
    for _ in range(2):
        found = read(kind, ROWS[kind])
        assert found == expected
        assert found.model_dump_json() == expected.model_dump_json()
        assert found.model_fields_set == expected.model_fields_set
        assert repr(found) == repr(expected)
        assert hash(found) == hash(expected)
        assert found.model_copy() == found


def test_every_result_that_is_read_so_is_tried_here() -> None:
    assert set(ROWS) == _rows.OF_EVERY_CHARGE


def test_columns_may_come_in_another_order_and_with_others() -> None:
    row = {"newer": 1} | dict(reversed(CHARGE.items()))
    assert [list(dict(read(Receipt, row))) for _ in range(2)] == [list(Receipt.model_fields)] * 2
    assert [read(Receipt, row) for _ in range(2)] == [read(Receipt, CHARGE)] * 2


@pytest.mark.parametrize(
    "wrong",
    [{"user_id": None}, {"charge_id": "first"}, {"created_at": "soon"}, {"replayed": "perhaps"}],
    ids=str,
)
def test_a_row_of_other_types_is_looked_at(wrong: dict[str, Any]) -> None:
    read(Receipt, CHARGE)
    for _ in range(2):
        with pytest.raises(ValidationError):
            read(Receipt, CHARGE | wrong)


def test_an_application_may_have_types_read_as_texts() -> None:
    as_texts = CHARGE | {"charge_id": str(ID), "created_at": CHARGE["created_at"].isoformat()}
    assert [read(Receipt, as_texts) for _ in range(2)] == [read(Receipt, CHARGE)] * 2


def test_a_charge_of_nothing_is_none() -> None:
    with pytest.raises(ValidationError):
        read(Receipt, CHARGE | {"credits_used": 0})


def test_amounts_are_counted_in_the_units_of_the_database() -> None:
    for scale, credits in ((1_000, "1.5"), (1, "1500")):
        receipt = row_reader(Receipt, tuple(CHARGE), scale)(tuple(CHARGE.values()))
        assert receipt.credits_used == Decimal(credits)  # type: ignore[attr-defined]  # a receipt's
