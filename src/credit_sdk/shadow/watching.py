"""The shadow of an application's own charging: every decision is repeated on books that nobody pays from."""

import logging
import queue
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from os import PathLike
from types import TracebackType
from typing import Self

from credit_sdk._connect import Source
from credit_sdk._flows import Retries
from credit_sdk._resources import PerProcess
from credit_sdk.account import Account
from credit_sdk.amounts import Amount, format_credits, parse_credits
from credit_sdk.backends.memory import MemoryBackend
from credit_sdk.errors import ConfigurationError, IdempotencyConflictError, NotFoundError, RefusedError
from credit_sdk.identifiers import new_request_id
from credit_sdk.service import CreditDeductionService
from credit_sdk.shadow.report import DifferenceKind, ReportFile, ShadowDifference, ShadowReport

logger = logging.getLogger("credit_sdk.shadow")

SETTING = "credits.shadow"
"""The setting of a database that says so: its books are a copy, and charging them takes from nobody."""
_TIMEOUT_SECONDS = 2.0
_MOST_ACCOUNTS = 100_000


@dataclass(frozen=True, slots=True)
class _Decision:
    """What the old code decided."""

    account: Account
    credits: Amount
    service_type: str
    allowed: bool
    balance: Amount | None
    service_name: str | None
    request_id: str


class _Line:
    """A queue of decisions with the thread that looks at them."""

    def __init__(self, capacity: int) -> None:
        self.waiting: queue.Queue[_Decision | None] = queue.Queue(capacity)
        self.starting = threading.Lock()
        self.thread: threading.Thread | None = None
        self.dropped = 0


class Shadow:
    """Compares each decision of code that charges by hand with what the ledger would have done.

    `books` are a copy that nobody pays from: a database that `credits shadow begin` has marked as such, or a
    `MemoryLedger`. Charges are taken there, so that its balances follow. `report` is the file of the
    counts, which processes may share. Comparing happens in a thread of its own: `compare` neither waits nor
    raises; at most `capacity` decisions wait, and what comes beyond is counted as dropped.
    """

    def __init__(
        self,
        books: "Source | CreditDeductionService",
        *,
        report: str | PathLike[str] | None = None,
        capacity: int = 1_000,
    ) -> None:
        """Set the shadow up without connecting. Raises `ConfigurationError` for books that cannot be some."""
        self._service = (
            books
            if isinstance(books, CreditDeductionService)
            else CreditDeductionService(
                books, outbox=False, retries=Retries(attempts=1), timeout=_TIMEOUT_SECONDS, pool_size=1
            )
        )
        self._file = ReportFile(report)
        self._lines = PerProcess(lambda: _Line(capacity), _end)
        self._is_marked = False
        self._gaps: dict[Account, Decimal] = {}
        self._told: set[tuple[str, str]] = set()

    def compare(
        self,
        account: Account,
        credits: Amount,
        *,
        service_type: str,
        allowed: bool,
        balance: Amount | None = None,
        service_name: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Report what the old code decided: whether it allowed, and if so took, `credits` of an account.

        `balance` is what the old code has left afterwards, if it knows. A `request_id` of the operation's own
        finds operations that were charged twice.
        """
        decision = _Decision(
            account, credits, service_type, allowed, balance, service_name, request_id or new_request_id()
        )
        line = self._lines.get()
        try:
            line.waiting.put_nowait(decision)
        except queue.Full:
            line.dropped += 1
            self._say("dropped", service_type, "The shadow is too slow: decisions are not compared.")
        if line.thread is None:
            self._start(line)

    def report(self) -> ShadowReport:
        """Wait until everything so far is compared, and return what the file has."""
        self._lines.get().waiting.join()
        return self._file.read()

    def close(self) -> None:
        """Compare what is waiting, and end."""
        self._lines.close()
        self._service.close()

    def __enter__(self) -> Self:
        """Return the shadow itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Compare what is waiting, and end."""
        self.close()

    def _start(self, line: _Line) -> None:
        with line.starting:
            if line.thread is None:
                line.thread = threading.Thread(
                    target=self._work, args=(line,), name="credit-sdk-shadow", daemon=True
                )
                line.thread.start()

    def _work(self, line: _Line) -> None:
        while True:
            decision = line.waiting.get()
            try:
                if decision is None:
                    return
                self._look_at(decision, line)
            except (OSError, sqlite3.Error) as error:
                self._say("report", "", "The shadow's report cannot be written: %s", error)
            finally:
                line.waiting.task_done()

    def _look_at(self, decision: _Decision, line: _Line) -> None:
        counts = Counter(compared=1)
        found: list[ShadowDifference] = []
        try:
            found = list(self._differences(decision))
            counts["agreed"] = int(not found)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the shadow's, and counted
            counts["failed"] = 1
            self._say("failed", type(error).__name__, "The shadow had no answer: %s", error)
        counts["dropped"], line.dropped = line.dropped, 0
        for each in found:
            self._say(
                each.kind, each.service_type, "%s at %s: %s by the old code, %s by the ledger (%s, %s)",
                each.kind, each.service_type, each.old, each.new, each.account, each.request_id,
            )  # fmt: skip
        self._file.add(+counts, found)

    def _differences(self, decision: _Decision) -> Iterator[ShadowDifference]:
        self._require_mark()
        credits = parse_credits(decision.credits)
        prices = self._service.prices
        if decision.service_type in prices and credits % prices[decision.service_type] != 0:
            listed = format_credits(prices[decision.service_type])
            yield _seen(decision, "amount", format_credits(credits), listed)
        if decision.allowed:
            yield from self._of_charge(decision, credits)
        else:
            check = self._service.check(decision.account, credits)
            if check.has_sufficient_credits:
                yield _seen(decision, "new_allowed", "refused", "allowed")
            yield from self._of_balance(decision, check.remaining_credits)

    def _of_charge(self, decision: _Decision, credits: Decimal) -> Iterator[ShadowDifference]:
        try:
            receipt = self._service.deduct(
                decision.account,
                credits,
                service_type=decision.service_type,
                service_name=decision.service_name,
                request_id=decision.request_id,
            )
        except IdempotencyConflictError as conflict:
            yield _seen(decision, "repeated", "charged again", conflict.code)
            return
        except (RefusedError, NotFoundError) as refusal:
            yield _seen(decision, "old_allowed", "allowed", refusal.code)
            return
        if receipt.replayed:
            yield _seen(decision, "repeated", "charged again", "charged once")
        yield from self._of_balance(decision, receipt.remaining)

    def _of_balance(self, decision: _Decision, new: Decimal) -> Iterator[ShadowDifference]:
        """Tell a gap between the balances when it changes: one difference shows in all that follow."""
        if decision.balance is None:
            return
        old = Decimal(str(decision.balance))
        if len(self._gaps) >= _MOST_ACCOUNTS:
            self._gaps.clear()
        before = self._gaps.get(decision.account, Decimal(0))
        self._gaps[decision.account] = new - old
        if new - old != before:
            yield _seen(decision, "balance", format_credits(old), format_credits(new))

    def _require_mark(self) -> None:
        """Take from books only if they say of themselves that nobody pays from them."""
        if self._is_marked:
            return
        backend = self._service._till.connections.backend  # noqa: SLF001 - of the same package
        if not isinstance(backend, MemoryBackend) and not is_marked(backend):
            raise ConfigurationError(
                "These books are not marked as a shadow's, so nothing is taken from them: make a copy, and "
                "run `credits shadow begin` on it."
            )
        self._is_marked = True

    def _say(self, kind: str, what: str, message: str, *details: object) -> None:
        """Log what there is to say once for each kind of it."""
        if (kind, what) not in self._told:
            self._told.add((kind, what))
            logger.warning(message, *details)


def is_marked(backend: object) -> bool:
    """Whether books in PostgreSQL are marked as a shadow's; never those behind a server."""
    ask = getattr(backend, "ask", None)
    return ask is not None and ask("SELECT current_setting($1, TRUE)", SETTING) == "on"


def _seen(decision: _Decision, kind: DifferenceKind, old: str, new: str) -> ShadowDifference:
    account = decision.account
    payer = f"{account.user_id} of {account.org_id}" if account.org_id else str(account.user_id)
    now = datetime.now(UTC)
    return ShadowDifference(
        kind=kind,
        service_type=decision.service_type,
        count=1,
        first_at=now,
        last_at=now,
        account=payer,
        old=old,
        new=new,
        request_id=decision.request_id,
    )


def _end(line: _Line) -> None:
    if line.thread is not None:
        line.waiting.put(None)
        line.thread.join()
