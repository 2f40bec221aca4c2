"""An organisation moves to another database while it is charged: nothing is lost, nothing is doubled."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import psycopg
import pytest
from typer.testing import CliRunner

from credit_sdk import Account, CreditDeductionService, CreditError, Retries, UnavailableError
from credit_sdk.cli._app import application
from credit_sdk.errors import ConflictError, NotFoundError
from credit_sdk.operations import (
    AddCredits,
    AddMember,
    Allocate,
    CreateSubscription,
    Deduct,
    DeductBatch,
    Operation,
    PlaceHold,
    PlaceHoldBatch,
    RunDue,
    Seal,
    SetCap,
)
from reference_server.archiving import archive_before
from reference_server.cells import moving
from reference_server.cells.moving import move_organization
from reference_server.transfer.lines import TransferError
from tests.server.cells.conftest import ANN, HOME, ORG, ask, furnish, sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHARGES = "SELECT request_id, credits_used FROM credit_usage_attribution WHERE org_id = 'acme' ORDER BY 1"
WAITING = """
    SELECT count(*) FROM pg_locks AS lock JOIN pg_stat_activity AS waiting USING (pid)
    WHERE NOT lock.granted AND waiting.query LIKE '%%cells.leave%%'
"""
STEPS = ("begun", "left", "arrived", "flipped")


class KilledError(BaseException):
    """The program is gone."""


@pytest.fixture
def source(urls: dict[str, str]) -> Iterator[CreditDeductionService]:
    """The SDK on the first database itself, as an application has it that knows no cells."""
    with CreditDeductionService(urls[HOME], outbox=False, retries=Retries(attempts=1)) as service:
        yield service


@pytest.fixture
def target(urls: dict[str, str]) -> Iterator[CreditDeductionService]:
    with CreditDeductionService(urls["b"], outbox=False) as service:
        yield service


def killed_at(step: str) -> Callable[[str], None]:
    def reached(now: str) -> None:
        if now == step:
            raise KilledError

    return reached


class Crowd:
    """Threads that charge one credit after the other, until they are told to stop."""

    def __init__(self, billing: CreditDeductionService, size: int = 4) -> None:
        self.charged: list[str] = []
        self.errors: list[CreditError] = []
        self._billing = billing
        self._stopping = threading.Event()
        self._more = threading.Condition()
        self._threads = [threading.Thread(target=self._charge, args=(name,)) for name in range(size)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int = 10) -> None:
        """Wait until as many more were charged."""
        with self._more:
            until = len(self.charged) + count
            assert self._more.wait_for(lambda: len(self.charged) >= until or self.errors, 60)

    def _charge(self, name: int) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            request_id = f"crowd-{name}-{number}"
            try:
                self._billing.deduct(ANN, Decimal("0.01"), service_type="x", request_id=request_id)
            except CreditError as error:
                self.errors.append(error)
                return
            with self._more:
                self.charged.append(request_id)
                self._more.notify_all()


def test_an_organisation_moves_under_load(billing: CreditDeductionService, urls: dict[str, str]) -> None:
    with Crowd(billing) as crowd:
        crowd.wait_for_more()
        assert move_organization(urls, ORG, "b") == HOME
        crowd.wait_for_more()
    assert crowd.errors == []
    assert [request_id for request_id, _ in ask(urls["b"], CHARGES)] == sorted(crowd.charged)
    left = ask(urls["b"], "SELECT remaining_credits FROM user_credit_allocations")
    assert left == [(1_000_000 - 10 * len(crowd.charged),)]
    assert sound(urls[HOME])
    assert sound(urls["b"])


@pytest.mark.parametrize("step", STEPS)
def test_whatever_step_is_the_last_the_same_command_goes_on(
    billing: CreditDeductionService, urls: dict[str, str], step: str
) -> None:
    with Crowd(billing) as crowd:
        crowd.wait_for_more()
        with pytest.raises(KilledError):
            move_organization(urls, ORG, "b", reached=killed_at(step))
        if step == "flipped":
            with pytest.raises(ConflictError, match="lives there"):
                move_organization(urls, ORG, "b")
        else:
            move_organization(urls, ORG, "b")
        crowd.wait_for_more()
    assert crowd.errors == []
    assert [request_id for request_id, _ in ask(urls["b"], CHARGES)] == sorted(crowd.charged)
    assert sound(urls["b"])


@pytest.mark.parametrize("ending", [HOME, "b"])
def test_a_database_that_is_lost_while_it_is_copied_to(
    urls: dict[str, str], source: CreditDeductionService, target: CreditDeductionService,
    monkeypatch: pytest.MonkeyPatch, ending: str,
) -> None:  # fmt: skip
    whole = moving.import_organization

    def lost(connection: Any, lines: Any) -> Any:
        done = whole(connection, lines)
        ask(urls["b"], "SELECT pg_terminate_backend(%s, 10000)", connection.info.backend_pid)
        return done

    monkeypatch.setattr(moving, "import_organization", lost)
    with pytest.raises(psycopg.OperationalError):
        move_organization(urls, ORG, "b")
    with pytest.raises(UnavailableError):
        source.deduct(ANN, 1, service_type="x", request_id="r")
    monkeypatch.undo()
    command = ["cells", "move", ORG, ending, "--url", urls[HOME], "--cells", f"b={urls['b']}"]
    done = CliRunner().invoke(application(), command)
    assert done.exit_code == 0, done.output
    books = source if ending == HOME else target
    assert books.deduct(ANN, 1, service_type="x", request_id="r").remaining == 999


def test_what_cannot_arrive_stays(urls: dict[str, str], source: CreditDeductionService) -> None:
    ask(
        urls["b"],
        "DELETE FROM credit_sdk_migrations WHERE version = (SELECT max(version) FROM credit_sdk_migrations)",
    )
    with pytest.raises(TransferError, match="version"):
        move_organization(urls, ORG, "b")
    assert source.deduct(ANN, 1, service_type="x").remaining == 999


def test_rows_that_others_keep_locked_are_not_waited_for_without_end(
    urls: dict[str, str], source: CreditDeductionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_ATTEMPTS", 1)
    with psycopg.connect(urls[HOME]) as other:
        other.execute("SELECT FROM user_credit_allocations FOR UPDATE")
        with pytest.raises(UnavailableError, match="locked"):
            move_organization(urls, ORG, "b")
    assert source.deduct(ANN, 1, service_type="x").remaining == 999


def test_a_charge_under_way_comes_along(urls: dict[str, str], target: CreditDeductionService) -> None:
    with psycopg.connect(urls[HOME]) as customer:
        customer.execute("SELECT ledger.deduct('acme', 'ann', 7000, 'x', NULL, 'slow')")
        mover = threading.Thread(target=move_organization, args=(urls, ORG, "b"))
        mover.start()
        while not ask(urls[HOME], WAITING)[0][0]:
            assert mover.is_alive()
        customer.commit()
        mover.join()
    assert target.deduct(ANN, 7, service_type="x", request_id="slow").replayed


def test_holds_and_request_ids_come_along(billing: CreditDeductionService, urls: dict[str, str]) -> None:
    charged = billing.deduct(ANN, 5, service_type="x", request_id="job-1")
    hold = billing.hold(ANN, 20, service_type="x", request_id="job-2")
    move_organization(urls, ORG, "b")
    again = billing.deduct(ANN, 5, service_type="x", request_id="job-1")
    assert (again.replayed, again.charge_id) == (True, charged.charge_id)
    assert billing.get_hold(hold.hold_id).status == "held"
    assert billing.capture(hold.hold_id, 15).remaining == 980
    assert billing.refund(charged.charge_id).remaining_credits == 985
    assert sound(urls["b"])


AFTERWARDS: dict[str, Operation[Any]] = {
    "a charge": Deduct(org_id=ORG, user_id="ann", credits=Decimal(1), service_type="x", request_id="new"),
    "a batch": DeductBatch(
        charges=(Deduct(org_id=ORG, user_id="ann", credits=Decimal(1), service_type="x", request_id="b1"),)
    ),
    "holds in bulk": PlaceHoldBatch(
        org_id=ORG,
        holds=(PlaceHold(org_id=ORG, user_id="ann", credits=Decimal(1), service_type="x", request_id="h1"),),
    ),
    "a grant": AddCredits(org_id=ORG, credits=Decimal(1), request_id="new"),
    "an allocation": Allocate(org_id=ORG, user_id="ann", allocated_credits=Decimal(1), request_id="new"),
    "a new allocation": Allocate(org_id=ORG, user_id="bob", allocated_credits=Decimal(1), request_id="new"),
    "a member": AddMember(org_id=ORG, user_id="eve"),
    "a subscription": CreateSubscription(org_id=ORG, subscription_plan="platform"),
    "a cap": SetCap(org_id=ORG, scope="organization", period="day", credits=Decimal(5)),
}


@pytest.mark.parametrize("operation", AFTERWARDS.values(), ids=AFTERWARDS.keys())
def test_the_database_that_was_left_takes_nothing(
    urls: dict[str, str], source: CreditDeductionService, operation: Operation[Any]
) -> None:
    source.execute(AddMember(org_id=ORG, user_id="bob"))
    move_organization(urls, ORG, "b")
    with pytest.raises(UnavailableError, match="moving to another database"):
        source.execute(operation)


@pytest.mark.parametrize("way", ["capture", "void", "refund", "extend", "by hand"])
def test_nor_does_it_end_what_was_begun(
    urls: dict[str, str], source: CreditDeductionService, way: str
) -> None:
    hold = source.hold(ANN, 5, service_type="x")
    charge = source.deduct(ANN, 5, service_type="x")
    move_organization(urls, ORG, "b")
    ways: dict[str, Callable[[], object]] = {
        "capture": lambda: source.capture(hold),
        "void": lambda: source.void(hold),
        "refund": lambda: source.refund(charge),
        "extend": lambda: source.extend(hold, ttl_seconds=3_600),
    }
    if way == "by hand":
        with pytest.raises(psycopg.Error, match="moving to another database"):
            ask(urls[HOME], "UPDATE user_credit_allocations SET allocated_credits = 1")
    else:
        with pytest.raises(UnavailableError, match="moving to another database"):
            ways[way]()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ledger.deduct('acme', 'ann', 1, 'x')",
        "SELECT ledger.add_credits('acme', 1)",
        "SELECT ledger.allocate('acme', 'bob', 1)",
        "SELECT ledger.add_member('acme', 'eve')",
    ],
)
def test_a_transaction_that_began_before_takes_nothing_either(urls: dict[str, str], statement: str) -> None:
    ask(urls[HOME], "SELECT ledger.add_member('acme', 'bob')")
    with psycopg.connect(urls[HOME]) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("SELECT FROM organizations")
        move_organization(urls, ORG, "b")
        with pytest.raises((psycopg.errors.SerializationFailure, psycopg.errors.InternalError_)):
            old.execute(statement.encode())


def test_what_is_due_is_left_to_the_other_database(
    urls: dict[str, str], source: CreditDeductionService, target: CreditDeductionService
) -> None:
    source.hold(ANN, 5, service_type="x", ttl_seconds=1)
    ask(urls[HOME], "UPDATE credit_holds SET expires_at = now() - interval '1 minute'")
    ask(urls[HOME], "UPDATE user_credit_allocations SET reset_period = 'daily', next_reset_date = now()")
    ask(urls[HOME], "UPDATE credit_pools SET monthly_refresh_amount = 5, next_refresh_date = now()")
    move_organization(urls, ORG, "b")
    assert set(source.execute(RunDue(limit=10)).model_dump().values()) == {0}
    assert source.execute(Seal(limit=10)).entries_sealed == 0
    due = target.execute(RunDue(limit=10))
    assert (due.holds_expired, due.allocations_reset, due.pools_refreshed) == (1, 1, 1)
    assert target.execute(Seal(limit=100)).entries_sealed > 0


def test_others_in_the_same_database_notice_nothing(
    urls: dict[str, str], source: CreditDeductionService
) -> None:
    ask(urls[HOME], "INSERT INTO organizations (id, name) VALUES ('other', 'Other')")
    furnish(urls[HOME], "other")
    move_organization(urls, ORG, "b")
    receipt = source.execute(
        Deduct(org_id="other", user_id="ann", credits=Decimal(1), service_type="x", request_id="r")
    )
    assert receipt.remaining == 999


def test_moves_that_make_no_sense(urls: dict[str, str]) -> None:
    for org_id, cell, error in (
        ("nobody", "b", NotFoundError),
        (ORG, "z", NotFoundError),
        (ORG, HOME, ConflictError),
    ):
        with pytest.raises(error):
            move_organization(urls, org_id, cell)
    move_organization(urls, ORG, "b")
    with pytest.raises(ConflictError, match="old books stay"):
        move_organization(urls, ORG, HOME)


def seal_charges_of(url: str, books: CreditDeductionService, org_id: str) -> None:
    """Seal until sealing has moved on over all charges, when whoever was at work has ended."""
    settled = """
        SELECT settled_before > (SELECT max(created_at) FROM credit_usage_attribution WHERE org_id = %s)
        FROM ledger_heads WHERE org_id = %s
    """
    while True:
        books.execute(Seal(limit=1_000))
        if ask(url, settled, org_id, org_id) == [(True,)]:
            return


def test_only_the_database_where_it_lives_archives_it(
    urls: dict[str, str], source: CreditDeductionService, target: CreditDeductionService
) -> None:
    ask(urls[HOME], "INSERT INTO organizations (id, name) VALUES ('other', 'Other')")
    furnish(urls[HOME], "other")
    for org_id in (ORG, "other"):
        account = Account(org_id=org_id, user_id="ann")
        source.deduct(account, 1, service_type="x", request_id="old", metadata={"company": 7})
        seal_charges_of(urls[HOME], source, org_id)
    move_organization(urls, ORG, "b")
    seal_charges_of(urls["b"], target, ORG)
    later = datetime.now(UTC) + timedelta(days=1)
    details = "SELECT org_id, request_metadata FROM credit_usage_attribution ORDER BY org_id"
    assert archive_before(urls[HOME], later, 10) == 1
    assert ask(urls[HOME], details) == [(ORG, {"company": 7}), ("other", None)]
    assert archive_before(urls["b"], later, 10) == 1
    assert ask(urls["b"], details) == [(ORG, None)]
    assert sound(urls[HOME])
    assert sound(urls["b"])
    assert target.deduct(ANN, 1, service_type="x", request_id="old").replayed
