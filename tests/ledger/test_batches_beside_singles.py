"""A batch has the outcomes of its items carried out one after the other, and leaves the same books.

Two organisations with the same members and the same past: one gets the batch, the other its items.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.ledger.conftest import Call, Member, Refusal, outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.ledger.conftest import Books, Row

MEMBERS = ("ann", "bob", "eve", "out")
IDS = [f"job-{number}" for number in range(8)]
KEYS = (None, None, "key-1")
AMOUNTS = (1_000, 10_000, 40_000, 70_000)
OTHER_AMOUNTS = (*AMOUNTS, 0, 200_000)
_numbers = count()

amounts = st.sampled_from([*AMOUNTS * 3, *OTHER_AMOUNTS])
metadata = st.sampled_from([{}, {"rows": 7}])
spending = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from([*MEMBERS[:3] * 3, "out"]),
        "credits": amounts,
        "service_type": st.sampled_from(["lookup", "lookup", "export"]),
        "service_name": st.none(),
        "request_id": st.sampled_from(IDS),
        "request_metadata": metadata,
        "api_key_id": st.sampled_from(KEYS),
    }
)
placing = st.tuples(spending, st.sampled_from([900, 900, 60, 0]), st.sampled_from([None, True])).map(
    lambda drawn: drawn[0] | {"ttl_seconds": drawn[1], "by_payer": drawn[2]}
)
capturing = st.fixed_dictionaries(
    {"number": st.integers(0, 7), "credits": st.sampled_from([None, None, *OTHER_AMOUNTS]),
     "request_metadata": metadata}
)  # fmt: skip


def past(*ends: str) -> st.SearchStrategy[Row]:
    """Draw what two organisations have in common; their holds are open, or ended like `ends`."""
    return st.fixed_dictionaries(
        {
            "caps": st.lists(
                st.tuples(
                    st.sampled_from([("organization", None), ("member", "ann"), ("api_key", "key-1")]),
                    st.sampled_from(["call", "day"]),
                    st.sampled_from([10_000, 60_000, 100_000]),
                ),
                max_size=2,
            ),
            "overage": st.sampled_from([0, 0, 20_000]),
            "charges": st.lists(spending, max_size=3),
            "holds": st.lists(st.tuples(placing, st.sampled_from(["open", "open", *ends])), max_size=6),
            "status": st.sampled_from(["active"] * 7 + ["suspended"]),
        }
    )


checked = settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],
)


@dataclass(frozen=True)
class Twin:
    """One of two organisations with the same past, and its holds by number."""

    books: Books
    holds: dict[int, str]

    def carry_out(self, function: str, arguments: Row) -> Row | Refusal:
        """Return what comes of a call."""
        return outcome(Call(function, arguments), self.books.connection)

    def alone(self, function: str, items: Sequence[Row]) -> list[Row]:
        """Carry items out one after the other."""
        return [self._told(self.carry_out(function, {"org_id": self.books.org_id, **item})) for item in items]

    def together(self, function: str, name: str, items: Sequence[Row]) -> list[Row]:
        """Carry items out as a batch."""
        document = self.books.do(Call(function, {"org_id": self.books.org_id, name: list(items)}))
        return [self._told(each) for each in document["outcomes"]]

    def left(self) -> list[Row]:
        """Return what stands in the books, without times and ids."""
        return [row for each in STATEMENTS for row in self.books.execute(each, self.books.org_id)]

    def _told(self, told: Row | Refusal) -> Row:
        """Return an outcome in the words of both, times and drawn ids left out."""
        if isinstance(told, Refusal):
            return {"detail": self._anonymous(told.sentence)} | _without(told.figures)
        if "problem" in told:
            problem = _without(told["problem"])
            del problem["status"]
            return problem | {"detail": self._anonymous(problem["detail"])}
        result = _without(told.get("receipt") or told.get("hold") or told)
        return {name: self._anonymous(value) for name, value in result.items()}

    def _anonymous(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        for number, hold_id in self.holds.items():
            value = value.replace(hold_id, f"hold {number}")
        return value.replace(self.books.org_id, "the organisation")


STATEMENTS = (
    """
    SELECT user_id, used_credits, held_credits
    FROM user_credit_allocations WHERE org_id = %s ORDER BY user_id
    """,
    """
    SELECT request_id, user_id, credits, captured_credits, status, service_type, request_metadata,
        api_key_id, by_payer, round(extract(epoch FROM expires_at - created_at), -1) AS seconds
    FROM credit_holds WHERE org_id = %s ORDER BY request_id, status, credits
    """,
    """
    SELECT request_id, user_id, credits_used, service_type, request_metadata, api_key_id,
        remaining_after, hold_id IS NOT NULL AS held
    FROM credit_usage_attribution WHERE org_id = %s ORDER BY request_id
    """,
    """
    SELECT scope, subject, period, used_credits
    FROM credit_caps WHERE org_id = %s ORDER BY scope, subject, period
    """,
)
TIMES_AND_IDS = {"created_at", "expires_at", "resets_at", "charge_id", "hold_id"}


def _without(figures: Row) -> Row:
    return {name: value for name, value in figures.items() if name not in TIMES_AND_IDS}


def twins(books: Books, drawn: Row) -> tuple[Twin, Twin]:
    """Return two organisations with the same past."""
    first, second = (_organization(books, drawn) for _ in range(2))
    assert first.left() == second.left()
    return first, second


def _organization(books: Books, drawn: Row) -> Twin:
    org_id = f"{books.org_id[:20]}-{next(_numbers)}"
    own = replace(books, org_id=org_id)
    own.execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", org_id, org_id)
    own.do(own.add(1_000_000))
    for user_id, allocated in zip(MEMBERS, (100_000, 80_000, None), strict=False):
        own.execute("INSERT INTO organization_members (org_id, user_id) VALUES (%s, %s)", org_id, user_id)
        if allocated:
            own.do(Member(org_id, user_id).allocate(allocated))
    twin = Twin(own, {})
    for number, (hold, end) in enumerate(drawn["holds"]):
        _place(twin, number, hold, end)
    for charge in drawn["charges"]:
        twin.carry_out("deduct", {"org_id": org_id, **charge})
    for (scope, subject), period, credits in drawn["caps"]:
        own.do(own.cap(scope, period, credits, subject))
    own.execute(
        "UPDATE credit_pools SET allow_overage = %s, overage_limit = %s WHERE org_id = %s",
        drawn["overage"] > 0, drawn["overage"], org_id,
    )  # fmt: skip
    own.execute("UPDATE organizations SET status = %s WHERE id = %s", drawn["status"], org_id)
    return twin


def _place(twin: Twin, number: int, hold: Row, end: str) -> None:
    placed = twin.carry_out("place_hold", {"org_id": twin.books.org_id, **hold})
    if isinstance(placed, Refusal):
        return
    twin.holds[number] = str(placed["hold_id"])
    if end == "overdue":
        twin.books.make_overdue(placed)
    elif end == "void":
        twin.books.do(twin.books.void(placed))


def assert_same(batch: Twin, singles: Twin, outcomes: list[Row], expected: list[Row]) -> None:
    assert outcomes == expected
    assert batch.left() == singles.left()
    assert batch.books.differences() == []


# A batch of charges gives all overdue holds of its members back first, a charge only those in its way.
@checked
@given(drawn=past("void"), charges=st.lists(spending, min_size=1, max_size=8))
def test_charges(books: Books, drawn: Row, charges: list[Row]) -> None:
    batch, singles = twins(books, drawn)
    outcomes = batch.together("deduct_batch", "charges", charges)
    assert_same(batch, singles, outcomes, singles.alone("deduct", charges))


@checked
@given(drawn=past("void", "overdue"), holds=st.lists(placing, min_size=1, max_size=8))
def test_holds(books: Books, drawn: Row, holds: list[Row]) -> None:
    batch, singles = twins(books, drawn)
    outcomes = batch.together("place_hold_batch", "holds", holds)
    assert_same(batch, singles, outcomes, singles.alone("place_hold", holds))


@checked
@given(drawn=past("void", "overdue"), captures=st.lists(capturing, min_size=1, max_size=8))
def test_captures(books: Books, drawn: Row, captures: list[Row]) -> None:
    batch, singles = twins(books, drawn)
    outcomes = batch.together("capture_hold_batch", "captures", _of(batch, captures))
    assert_same(batch, singles, outcomes, singles.alone("capture_hold", _of(singles, captures)))


def _of(twin: Twin, captures: list[Row]) -> list[Row]:
    """Return captures of a twin's holds; those that it has not are of a hold that nobody has."""
    nobodys = "00000000-0000-4000-8000-000000000000"
    return [
        {"hold_id": twin.holds.get(each["number"], nobodys)}
        | {name: each[name] for name in each if name != "number"}
        for each in captures
    ]
