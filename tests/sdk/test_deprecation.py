"""Names on their way out: they work, they say so, and they are gone when they said that they would be."""

from __future__ import annotations

import ast
import asyncio
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from credit_sdk import _deprecation
from credit_sdk._deprecation import renamed_argument, renamed_names

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = Path(__file__).parents[2] / "src"
TERMS = {"since": "0.3", "removed_in": "1.0"}


@renamed_argument("price", "credits", **TERMS)
def charge(user: str, *, credits: int) -> tuple[str, int]:
    return user, credits


def test_the_old_name_of_an_argument_works_and_says_what_to_use() -> None:
    with pytest.warns(DeprecationWarning, match="'price'") as caught:
        assert charge("ada", price=5) == ("ada", 5)  # type: ignore[call-arg]
    assert str(caught[0].message) == (
        "The argument 'price' of charge() is deprecated since credit-sdk 0.3 and removed in 1.0: "
        "use 'credits'."
    )
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("error")
def test_the_new_name_says_nothing() -> None:
    assert charge("ada", credits=5) == ("ada", 5)


def test_both_names_at_once_are_an_error() -> None:
    with pytest.raises(TypeError, match="'price' and 'credits', which are the same"):
        charge("ada", price=5, credits=5)  # type: ignore[call-arg]


def test_a_coroutine_function_is_awaited_as_before() -> None:
    @renamed_argument("price", "credits", **TERMS)
    async def later(*, credits: int) -> int:
        return credits

    with pytest.warns(DeprecationWarning, match="'price'"):
        assert asyncio.run(later(price=5)) == 5  # type: ignore[call-arg]


def test_the_old_name_in_a_module_answers_the_new_one() -> None:
    look = renamed_names("credit_sdk", {"Charge": charge}, **TERMS)
    with pytest.warns(DeprecationWarning, match=r"^credit_sdk\.Charge is deprecated .*: use charge\.$"):
        assert look("Charge") is charge
    with pytest.raises(AttributeError, match="module 'credit_sdk' has no attribute 'Credit'"):
        look("Credit")


def promised_removals(source: str) -> Iterator[tuple[int, str]]:
    """Return the lines of a file that promise to remove something, and in which version."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            for word in node.keywords:
                if word.arg == "removed_in" and isinstance(word.value, ast.Constant):
                    yield node.lineno, word.value.value


def as_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def overdue(source: str, current: str) -> list[tuple[int, str]]:
    return [each for each in promised_removals(source) if as_numbers(each[1]) <= as_numbers(current)]


def test_nothing_outlives_the_version_that_promised_to_remove_it() -> None:
    current = version("credit-sdk")
    late: dict[str, Any] = {
        str(path.relative_to(SOURCES)): found
        for path in SOURCES.rglob("*.py")
        if path != Path(_deprecation.__file__) and (found := overdue(path.read_text(), current))
    }
    assert late == {}


def test_what_is_overdue_is_seen() -> None:
    source = 'x = renamed_argument("a", "b", since="0.1", removed_in="0.3")'
    assert [overdue(source, current) for current in ("0.2.9", "0.3", "0.10")] == [
        [],
        [(1, "0.3")],
        [(1, "0.3")],
    ]
