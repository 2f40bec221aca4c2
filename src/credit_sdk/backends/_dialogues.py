"""Hold a dialogue with a database: one driver blocks, one awaits."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import psycopg

from credit_sdk.backends._books import Dialogue, Reply
from credit_sdk.backends._exchanges import column_names
from credit_sdk.backends._statements import Call, Row
from credit_sdk.operations import ResultT_co


def hold_dialogue(ask: Callable[[Call], Reply], dialogue: Dialogue[ResultT_co]) -> ResultT_co:
    """Carry the calls of a dialogue out; return what it comes to."""
    try:
        call = next(dialogue)
        while True:
            try:
                reply = ask(call)
            except psycopg.Error as error:
                call = dialogue.throw(error)
            else:
                call = dialogue.send(reply)
    except StopIteration as end:
        result: ResultT_co = end.value
        return result


async def hold_dialogue_async(
    ask: Callable[[Call], Awaitable[Reply]], dialogue: Dialogue[ResultT_co]
) -> ResultT_co:
    """Carry the calls of a dialogue out; return what it comes to."""
    try:
        call = next(dialogue)
        while True:
            try:
                reply = await ask(call)
            except psycopg.Error as error:
                call = dialogue.throw(error)
            else:
                call = dialogue.send(reply)
    except StopIteration as end:
        result: ResultT_co = end.value
        return result


def asking(connection: psycopg.Connection[Any]) -> Callable[[Call], Reply]:
    """Return what carries calls out within the transaction that a caller has open on a connection."""

    def ask(call: Call) -> Reply:
        cursor = psycopg.RawCursor(connection)
        cursor.execute(call.statement, call.parameters)
        return _reply(cursor, cursor.fetchone())

    return ask


def asking_async(connection: psycopg.AsyncConnection[Any]) -> Callable[[Call], Awaitable[Reply]]:
    """Return what carries calls out within the transaction that a caller has open on a connection."""

    async def ask(call: Call) -> Reply:
        cursor = psycopg.AsyncRawCursor(connection)
        await cursor.execute(call.statement, call.parameters)
        return _reply(cursor, await cursor.fetchone())

    return ask


def _reply(cursor: "psycopg.RawCursor[Any] | psycopg.AsyncRawCursor[Any]", row: Any) -> Reply:
    result = cursor.pgresult
    return Reply(column_names(result) if result else (), cast("Row | None", row))
