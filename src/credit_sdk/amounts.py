"""Amounts of credits: exact decimals with at most three places (SPEC section 2).

One credit is 1000 millicredits. Python handles credits as `Decimal`; the organisation tables keep
millicredits as integers. Nothing here ever passes through a binary float.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from credit_sdk.errors import InvalidAmountError

Amount = int | str | Decimal | float

MILLICREDITS_PER_CREDIT = 1000
LARGEST_AMOUNT = Decimal(10) ** 12
"""The largest amount in one operation, in credits."""
SMALLEST_AMOUNT = Decimal("0.001")
"""One millicredit, in credits."""

_SMALLEST_EXPONENT = -3
_LARGEST_ADJUSTED = 12
_LARGEST_ADJUSTED_ANSWER = 30
_LARGEST_WHOLE = 10**12
_LARGEST_BIGINT = 2**63 - 1
_CENT = Decimal("0.01")
LARGEST_MONTHLY_PRICE = Decimal("9999999999.99")
"""The largest price of a subscription, in USD a month: what its column keeps."""
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?", re.ASCII)


def parse_credits(value: object, *, argument: str = "credits") -> Decimal:
    """Return `value` as a positive amount of credits.

    Raises `InvalidAmountError` for zero, negatives, NaN, infinities, more than three decimals,
    booleans, anything above 10^12 credits, and whatever is not a number.
    """
    if type(value) is int and 0 < value <= _LARGEST_WHOLE:
        # Most amounts are; the rest of this costs several times as much.
        return Decimal(value)
    amount = _exact(value, argument)
    if amount <= 0:
        raise InvalidAmountError(f"{argument} must be more than zero, not {amount:f}.")
    return amount


def parse_price(value: object, *, argument: str = "credits") -> Decimal:
    """Return `value` as an amount of credits that may also be zero: a price, a cost, an estimate."""
    if type(value) is int and 0 <= value <= _LARGEST_WHOLE:
        return Decimal(value)
    amount = _exact(value, argument)
    if amount < 0:
        raise InvalidAmountError(f"{argument} cannot be negative, but is {amount:f}.")
    return amount


def to_millicredits(credits: Decimal, scale: int = MILLICREDITS_PER_CREDIT) -> int:
    """Return an amount of credits in the integer unit of a database: `scale` units make one credit."""
    units = credits * scale
    whole = int(units)
    if whole != units:
        raise InvalidAmountError(f"{credits:f} credits cannot be kept by a database of whole credits.")
    return whole


def from_millicredits(units: int, scale: int = MILLICREDITS_PER_CREDIT) -> Decimal:
    """Return credits for a database integer of which `scale` make one credit."""
    return Decimal(units) / scale


def to_number(amount: Decimal) -> int | float:
    """Return the amount as a JSON number without trailing zeros.

    A float is exact here: up to 10^12 credits with three decimals have at most 15 digits, and the
    shortest repr of a double keeps 15.
    """
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def format_credits(amount: Decimal) -> str:
    """Return the amount for people: `1,234.5`."""
    whole, _, decimals = f"{amount:,.3f}".partition(".")
    return f"{whole}.{decimals.rstrip('0')}".rstrip(".")


def _exact(value: object, argument: str) -> Decimal:
    amount = _decimal(value, argument)
    if not amount.is_finite():
        raise InvalidAmountError(f"{argument} must be a finite number, not {amount}.")
    if amount.adjusted() > _LARGEST_ADJUSTED or abs(amount) > LARGEST_AMOUNT:
        raise InvalidAmountError(f"{argument} must be at most {LARGEST_AMOUNT:,} credits.")
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < _SMALLEST_EXPONENT:
        # Decimal.normalize would round to the context's precision; quantize raises instead.
        return _quantized(amount, argument)
    return amount


def _quantized(amount: Decimal, argument: str) -> Decimal:
    try:
        exact = amount.quantize(SMALLEST_AMOUNT)
    except InvalidOperation:
        exact = None
    if exact is None or exact != amount:
        raise InvalidAmountError(f"{argument} must have at most 3 decimals, but is {amount}.")
    return exact


def _decimal(value: object, argument: str) -> Decimal:
    match value:
        case bool():
            raise InvalidAmountError(f"{argument} must be a number, not {value}.")
        case Decimal():
            return value
        case int():
            # Decimal(int) of a huge integer is quadratic; the bound is checked first.
            if abs(value) > LARGEST_AMOUNT:
                raise InvalidAmountError(f"{argument} must be at most {LARGEST_AMOUNT:,} credits.")
            return Decimal(value)
        case float():
            # A subclass, such as numpy's, may have a repr of its own.
            return Decimal(float.__repr__(value))
        case str() if _PLAIN_NUMBER.fullmatch(value):
            return Decimal(value)
        case str():
            raise InvalidAmountError(
                f"{argument} must be a plain number such as 50 or 0.05, not {value[:40]!r}."
            )
        case _:
            raise InvalidAmountError(f"{argument} must be a number, not {type(value).__name__}.")


def _parse_balance(value: object, info: ValidationInfo) -> Decimal:
    """Read an amount out of an answer: credits, or database units when the context names their scale."""
    # Of the integers that databases answer, there is nothing to doubt.
    amount = Decimal(value) if type(value) is int and abs(value) <= _LARGEST_BIGINT else _exact_answer(value)
    scale = info.context["scale"] if info.context else 1
    return amount / scale if scale != 1 else amount


def _parse_taken(value: object, info: ValidationInfo) -> Decimal:
    amount = _parse_balance(value, info)
    if amount <= 0:
        raise ValueError("expected an amount above zero")
    return amount


def _parse_money(value: object) -> Decimal:
    return _exact_answer(value)


def _exact_answer(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"expected an amount, not {type(value).__name__}")  # noqa: TRY004 - pydantic reads ValueError
    try:
        amount = value if type(value) is Decimal else Decimal(str(value))
    except InvalidOperation:
        raise ValueError("expected an amount") from None
    # To write 1e999999999 out would take all memory.
    if not amount.is_finite() or amount.adjusted() > _LARGEST_ADJUSTED_ANSWER:
        raise ValueError("expected an amount of this world")
    return amount


_NUMBER = PlainSerializer(to_number, return_type=int | float, when_used="json")


def _requested_credits(value: object, info: ValidationInfo) -> Decimal:
    if type(value) is int and 0 < value <= _LARGEST_WHOLE:
        # As in parse_credits, which is not even called for most amounts.
        return Decimal(value)
    if value is None:
        raise PydanticCustomError("missing", "Field required")
    return parse_credits(value, argument=info.field_name or "credits")


def _requested_money(value: object, info: ValidationInfo) -> Decimal:
    try:
        amount = parse_price(value, argument=info.field_name or "amount")
    except InvalidAmountError as error:
        raise ValueError(error.detail) from None
    if amount != amount.quantize(_CENT):
        raise ValueError("must have at most 2 decimals")
    return amount


def _requested_monthly_price(value: object, info: ValidationInfo) -> Decimal:
    amount = _requested_money(value, info)
    if amount > LARGEST_MONTHLY_PRICE:
        raise ValueError(f"must be at most {LARGEST_MONTHLY_PRICE:,} USD")
    return amount


# Exactly the texts that are accepted: zeros before a number and after its decimals say nothing.
_POSITIVE_TEXT = r"^(?=.*[1-9])(0{0,17}1000000000000(\.0{1,30})?|0{0,18}[0-9]{1,12}(\.[0-9]{1,3}0{0,27})?)$"
_MONEY_TEXT = (
    r"^(-0{1,30}(\.0{1,30})?|0{0,17}1000000000000(\.0{1,30})?|0{0,18}[0-9]{1,12}(\.[0-9]{1,2}0{0,28})?)$"
)
_MONTHLY_TEXT = r"^(-0{1,30}(\.0{1,30})?|0{0,20}[0-9]{1,10}(\.[0-9]{1,2}0{0,28})?)$"

Credits = Annotated[
    Decimal,
    PlainValidator(_requested_credits),
    _NUMBER,
    WithJsonSchema(
        {
            "description": "Credits, at most three decimals; a number or a string holding one.",
            "anyOf": [
                {"type": "number", "minimum": float(SMALLEST_AMOUNT), "maximum": 10**12},
                {"type": "string", "pattern": _POSITIVE_TEXT},
            ],
        },
        mode="validation",
    ),
    WithJsonSchema({"type": "number", "description": "Credits."}, mode="serialization"),
]
"""A positive amount of credits in a request."""


def _money_schema(largest: float, text: str) -> WithJsonSchema:
    schema = {
        "description": "USD, at most two decimals; a number or a string holding one.",
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": largest},
            {"type": "string", "pattern": text},
        ],
    }
    return WithJsonSchema(schema, mode="validation")


_MONEY = WithJsonSchema({"type": "number", "description": "USD."}, mode="serialization")

Price = Annotated[
    Decimal, PlainValidator(_requested_money), _NUMBER, _money_schema(10**12, _MONEY_TEXT), _MONEY
]
"""An amount of USD in a request; may be zero."""

MonthlyPrice = Annotated[
    Decimal,
    PlainValidator(_requested_monthly_price),
    _NUMBER,
    _money_schema(float(LARGEST_MONTHLY_PRICE), _MONTHLY_TEXT),
    _MONEY,
]
"""The price of a subscription in a request, in USD a month; may be zero."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """Reads an amount out of an answer; a strict reader takes a `Decimal` only, without asking Python."""

    parse: Callable[[object, ValidationInfo], Decimal]
    above: Decimal | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.lax_or_strict_schema(
            lax_schema=core_schema.with_info_plain_validator_function(self.parse),
            strict_schema=core_schema.decimal_schema(gt=self.above),
        )


Balance = Annotated[
    Decimal,
    _Answer(_parse_balance),
    _NUMBER,
    WithJsonSchema({"type": "number", "description": "Credits; may be zero or negative."}),
]
"""An amount of credits in an answer."""

Taken = Annotated[
    Decimal,
    _Answer(_parse_taken, above=Decimal(0)),
    _NUMBER,
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "description": "Credits."}),
]
"""An amount of credits in an answer that says what was taken or set aside: never zero or less."""

Money = Annotated[
    Decimal, PlainValidator(_parse_money), _NUMBER, WithJsonSchema({"type": "number", "description": "USD."})
]
"""An amount of USD in an answer."""
