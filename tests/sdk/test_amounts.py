"""Amounts are exact or refused."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_sdk import InvalidAmountError
from credit_sdk.amounts import (
    LARGEST_AMOUNT,
    format_credits,
    from_millicredits,
    parse_credits,
    parse_price,
    to_millicredits,
    to_number,
)

MILLICREDITS = st.integers(min_value=1, max_value=int(LARGEST_AMOUNT) * 1000)


@given(MILLICREDITS)
def test_every_whole_number_of_millicredits_survives_every_way(millicredits: int) -> None:
    credits = from_millicredits(millicredits)
    assert to_millicredits(parse_credits(credits)) == millicredits
    assert to_millicredits(parse_credits(f"{credits:f}")) == millicredits
    number = json.dumps(to_number(credits))
    assert to_millicredits(parse_credits(json.loads(number, parse_float=Decimal))) == millicredits
    assert to_millicredits(parse_credits(json.loads(number))) == millicredits
    assert not number.endswith(".0")


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.floats() | st.integers() | st.text())
def test_whatever_is_accepted_is_positive_and_has_at_most_three_decimals(value: Any) -> None:
    try:
        amount = parse_credits(value)
    except InvalidAmountError:
        return
    assert 0 < amount <= LARGEST_AMOUNT
    assert amount * 1000 == int(amount * 1000)


@pytest.mark.parametrize(
    "value",
    [
        0,
        -5,
        2**63,
        10**12 + 1,
        0.0005,
        "0.0005",
        True,
        False,
        "1_0",
        "\u0665",
        "",
        " 5",
        "5 ",
        "+5",
        "1e3",
        "0x10",
        float("nan"),
        float("inf"),
        Decimal("-Infinity"),
        Decimal("sNaN"),
        Decimal("1E+400"),
        Decimal("1E-400"),
        None,
        [5],
        b"5",
        10**5000,
        0.1 + 0.2,
        "9" * 5000,
    ],
    ids=lambda value: f"{type(value).__name__} {str(value)[:12] if not isinstance(value, int) else 'number'}",
)
def test_what_is_not_an_amount_is_refused(value: Any) -> None:
    with pytest.raises(InvalidAmountError, match="credits"):
        parse_credits(value)


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (5.5, "5.5"),
        (5.0, "5"),
        ("5", "5"),
        ("0.05", "0.05"),
        (Decimal("5.5000"), "5.5"),
        (0.001, "0.001"),
        (10**12, "1000000000000"),
        (Decimal("1E+3"), "1000"),
    ],
)
def test_what_is_an_amount_is_exact(value: Any, amount: str) -> None:
    assert parse_credits(value) == Decimal(amount)


def test_a_price_may_be_zero() -> None:
    assert parse_price(0) == 0
    with pytest.raises(InvalidAmountError):
        parse_price(-1)


def test_amounts_for_people_have_separators_and_no_trailing_zeros() -> None:
    assert [format_credits(Decimal(text)) for text in ("1234.5", "0.05", "10000", "0", "-5")] == [
        "1,234.5",
        "0.05",
        "10,000",
        "0",
        "-5",
    ]


def test_a_database_of_whole_credits_refuses_fractions() -> None:
    assert to_millicredits(Decimal(50), scale=1) == 50
    with pytest.raises(InvalidAmountError, match="whole credits"):
        to_millicredits(Decimal("0.5"), scale=1)


def test_a_float_of_another_library_is_read_by_its_value() -> None:
    class Float64(float):
        def __repr__(self) -> str:
            return f"Float64({float(self)})"

    assert parse_credits(Float64(1.5)) == Decimal("1.5")
