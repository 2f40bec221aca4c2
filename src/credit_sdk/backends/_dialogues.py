"""Hold a dialogue with a database on a psycopg connection: one driver blocks, one awaits."""

from functools import cache
from typing import Any, cast

import psycopg

from credit_sdk.backends._books import Dialogue, Reply
from credit_sdk.backends._statements import Row
from credit_sdk.operations import ResultT_co


def hold_dialogue(cursor: "psycopg.RawCursor[Any]", dialogue: Dialogue[ResultT_co]) -> ResultT_co:
    """Carry the calls of a dialogue out; return what it comes to."""
    try:
        call = next(dialogue)
        while True:
            try:
                try:
                    cursor.execute(call.statement, call.parameters)
                except psycopg.errors.FeatureNotSupported:
                    if not _prepares_no_more(cursor.connection):
                        raise
                    cursor.execute(call.statement, call.parameters)
                reply = Reply(_columns(cursor), cast("Row | None", cursor.fetchone()))
            except psycopg.Error as error:
                call = dialogue.throw(error)
            else:
                call = dialogue.send(reply)
    except StopIteration as end:
        return cast("ResultT_co", end.value)


async def hold_dialogue_async(
    connection: psycopg.AsyncConnection[Any], dialogue: Dialogue[ResultT_co]
) -> ResultT_co:
    """Carry the calls of a dialogue out; return what it comes to."""
    try:
        call = next(dialogue)
        while True:
            try:
                cursor = psycopg.AsyncRawCursor(connection)
                try:
                    await cursor.execute(call.statement, call.parameters)
                except psycopg.errors.FeatureNotSupported:
                    if not _prepares_no_more(connection):
                        raise
                    await cursor.execute(call.statement, call.parameters)
                reply = Reply(_columns(cursor), cast("Row | None", await cursor.fetchone()))
            except psycopg.Error as error:
                call = dialogue.throw(error)
            else:
                call = dialogue.send(reply)
    except StopIteration as end:
        return cast("ResultT_co", end.value)


def _prepares_no_more(connection: "psycopg.Connection[Any] | psycopg.AsyncConnection[Any]") -> bool:
    """Let nothing be prepared any more; return whether a refused statement may be sent again at once.

    A migration may give a function's result more columns. PostgreSQL then refuses what was prepared before,
    without running any of it. The pool replaces the connection in time.
    """
    is_on_its_own = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    if connection.prepare_threshold is None or not is_on_its_own:
        return False
    connection.prepare_threshold = None
    return True


def _columns(cursor: "psycopg.RawCursor[Any] | psycopg.AsyncRawCursor[Any]") -> tuple[str, ...]:
    # cursor.description looks every type up, which costs more than the rest of the reply.
    result = cursor.pgresult
    if result is None:
        return ()
    return _decoded(tuple([result.fname(index) for index in range(result.nfields)]))


@cache
def _decoded(names: tuple[bytes | None, ...]) -> tuple[str, ...]:
    return tuple((name or b"").decode() for name in names)
