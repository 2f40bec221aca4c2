"""What is said to a database to carry an operation out, without saying how: no I/O, no colour.

A dialogue is a generator that yields calls and receives replies; the backends hold it, blocking or awaiting.
"""

from collections.abc import Generator
from typing import NamedTuple, TypeAlias

import psycopg

from credit_sdk.backends import _first_system, _statements
from credit_sdk.backends._outcomes import outcome_error
from credit_sdk.backends._postgres_errors import statement_error, unexplained
from credit_sdk.backends._statements import Actor, Call, Row
from credit_sdk.errors import CreditError, OutcomeUnknownError, SchemaMissingError
from credit_sdk.operations import Operation, PlaceBalanceHold, PlaceHold, ResultT_co


class Reply(NamedTuple):
    """The names of the columns that a call answered, and its only row."""

    columns: tuple[str, ...]
    row: Row | None


Dialogue: TypeAlias = Generator[Call, Reply, ResultT_co]


_HOLDING = frozenset({PlaceHold, PlaceBalanceHold})


class Books:
    """One database: where it is, its unit, and which system's functions it has."""

    def __init__(self, host: str, scale: int, actor: Actor | None = None) -> None:
        self.host = host
        self._scale = scale
        self._actor = actor
        self._is_first_system = False

    def on_behalf_of(self, actor: Actor) -> "Books":
        """Return the same database, which is told who has something done."""
        return Books(self.host, self._scale, actor)

    def carrying_out(self, operation: Operation[ResultT_co]) -> Dialogue[ResultT_co]:
        """Return the dialogue of an operation; a failed call is thrown in as `psycopg.Error`."""
        if type(operation) in _HOLDING:
            # Whoever asks for a hold wants to know whether the database was migrated meanwhile.
            self._is_first_system = False
        return self._asking(operation)

    def error(self, error: psycopg.Error) -> CreditError:
        """Return what a failed statement means."""
        return statement_error(error, self.host, self._scale)

    def silence(self) -> CreditError:
        """Return what it means that nothing was answered in time."""
        return OutcomeUnknownError(f"PostgreSQL at {self.host} did not answer in time.")

    def _asking(self, operation: Operation[ResultT_co]) -> Dialogue[ResultT_co]:
        language = _first_system if self._is_first_system else _statements
        columns: tuple[str, ...] = ()
        rows: list[Row | None] = []
        for call in self._calls(operation):
            try:
                columns, row = yield call
            except psycopg.Error as error:
                failure = self._error(error, operation)
                if isinstance(failure, SchemaMissingError) and (yield from self._finds_first_system()):
                    return (yield from self._asking(operation))
                raise failure from unexplained(error)
            rows.append(row)
        result: ResultT_co = language.result(operation, columns, rows, self._scale)
        return result

    def _finds_first_system(self) -> Generator[Call, Reply, bool]:
        """Ask a database that lacks what was called if it is of the first system, unless that is known."""
        if not self._is_first_system:
            probe = yield Call(_first_system.PROBE, ())
            self._is_first_system = bool(probe.row and probe.row[0])
            return self._is_first_system
        return False

    def _calls(self, operation: Operation[ResultT_co]) -> list[Call]:
        if self._is_first_system:
            return _first_system.calls(operation, self._scale)
        return _statements.calls(operation, self._scale, self._actor)

    def _error(self, error: psycopg.Error, operation: Operation[ResultT_co]) -> CreditError:
        refusal: CreditError | None = None
        if self._is_first_system and error.sqlstate == _first_system.RAISED:
            refusal = _first_system.refusal(error, operation)
        return refusal or outcome_error(self.error(error), operation)
