"""Rows of single values as results, for what comes with every charge.

psycopg reads each column as one Python type. So pydantic looks at the first row of each combination of types
only, and strictly; the others are known to fit, and to look at them as well would cost a charge as much as to
encode and send it.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from operator import itemgetter
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ValidationError

from credit_sdk.amounts import Balance, Taken
from credit_sdk.models import CreditCheck, Hold, Receipt, Spending

Row = tuple[Any, ...]

OF_EVERY_CHARGE = frozenset({CreditCheck, Hold, Receipt, Spending})
"""The results that are read here: of single values, which cannot be changed."""


Reader = Callable[[Row], BaseModel]


@cache
def row_reader(kind: type[BaseModel], columns: tuple[str, ...], scale: int) -> Reader:
    """Return what makes results of a class out of a statement's rows; raises pydantic's error for others.

    `columns` are those of the statement; amounts in them are integers, of which `scale` make one credit.
    """
    fields = kind.model_fields
    # What a newer function adds is left out.
    names = tuple(name for name in columns if name in fields)
    known_columns = itemgetter(*[columns.index(name) for name in names])
    is_known = names == columns
    # In the order of the fields, as pydantic would have them; what has no column has its default.
    empty = {name: fields[name].default for name in fields if name in names or not fields[name].is_required()}
    given = set(names)
    amounts = tuple(name for name in names if name in _amounts_of(kind))
    validated: set[tuple[type, ...]] = set()

    def read(row: Row) -> BaseModel:
        values = empty.copy()
        values.update(zip(names, row if is_known else known_columns(row), strict=True))
        for name in amounts:
            values[name] = Decimal(values[name]) / scale
        types = tuple(map(type, row))
        if types in validated:
            return _made_of(kind, values, given)
        known = {name: values[name] for name in names}
        try:
            result = kind.model_validate(known, strict=True)
        except ValidationError:
            # An application may have told psycopg to read a type as another one: then each row is looked at.
            return kind.model_validate(known)
        validated.add(types)
        return result

    return read


_put = object.__setattr__


def _made_of(kind: type[BaseModel], values: dict[str, Any], given: set[str]) -> BaseModel:
    """Return a model of values that are all there and fit, as `model_construct` does in far more time."""
    model = kind.__new__(kind)
    _put(model, "__dict__", values)
    _put(model, "__pydantic_fields_set__", given)
    _put(model, "__pydantic_extra__", None)
    _put(model, "__pydantic_private__", None)
    return model


def _amounts_of(kind: type[BaseModel]) -> frozenset[str]:
    hints = get_type_hints(kind, include_extras=True)
    amounts = (Balance, Taken)
    return frozenset(
        name
        for name in kind.model_fields
        if hints[name] in amounts or any(each in amounts for each in get_args(hints[name]))
    )
