"""The functions are the operations: same names, same fields, results of the same shape."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import pytest

from credit_sdk.operations import DeductBatch, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ledger.conftest import Books, Row

ADDED_BY_THE_BACKEND: dict[type[Operation[Any]], list[str]] = {DeductBatch: ["org_id"]}
NOT_AN_OPERATION = {"now", "act_as", "examine"}
THE_LEDGER = {
    "add_credits", "allocate", "capture_hold", "charge_hold", "check_charges",
    "check_credits", "deduct", "deduct_batch",
    "expire_holds",
    "extend_balance_hold", "extend_hold",
    "get_hold", "get_pool", "get_usage", "get_user_billing", "get_user_credits", "list_allocations",
    "list_charges", "place_hold", "refund", "verify_ledger", "void_hold",
    "capture_balance_hold", "check_balance", "get_balance", "get_balance_hold", "get_statement",
    "grant_credits", "list_transactions", "place_balance_hold", "refund_spending", "spend",
    "void_balance_hold",
}  # fmt: skip


def function_of(kind: type[Operation[Any]]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def _operations() -> Iterator[type[Operation[Any]]]:
    waiting = list(Operation.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        yield kind


OPERATIONS = {function_of(kind): kind for kind in _operations() if "[" not in kind.__name__}


@pytest.fixture
def functions(books: Books) -> list[Row]:
    """What an application may execute in the ledger's schema."""
    return books.execute(
        "SELECT proname, proargnames[:pronargs] AS arguments, proargnames[pronargs + 1:] AS columns,"
        " pronargdefaults AS defaults,"
        " ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = typrelid ORDER BY attnum) AS fields"
        " FROM pg_proc JOIN pg_type ON pg_type.oid = prorettype"
        " WHERE pronamespace = 'ledger'::regnamespace AND proname <> ALL(%s)"
        " AND has_function_privilege('credits_app', pg_proc.oid, 'EXECUTE')",
        list(NOT_AN_OPERATION),
    )


def test_every_function_is_an_operation(functions: list[Row]) -> None:
    names = [row["proname"] for row in functions]
    assert len(set(names)) == len(names)
    assert set(names) >= THE_LEDGER
    assert set(names) <= set(OPERATIONS)


def test_functions_have_the_fields_of_their_operations(functions: list[Row]) -> None:
    for row in functions:
        kind = OPERATIONS[row["proname"]]
        added = ADDED_BY_THE_BACKEND.get(kind, [])
        assert row["arguments"] == added + list(kind.model_fields), row["proname"]
        # PostgreSQL lets only the last arguments be left out.
        fields = kind.model_fields.values()
        optional = list(takewhile(lambda field: not field.is_required(), reversed(fields)))
        assert row["defaults"] == len(optional), row["proname"]


def test_functions_answer_the_fields_of_their_results(functions: list[Row]) -> None:
    for row in functions:
        columns = row["columns"] or row["fields"]
        fields = [name for name in OPERATIONS[row["proname"]].result.model_fields if name != "success"]
        assert columns in (["document"], fields), row["proname"]
