"""Many streams at once on one worker: none is lost, none is charged twice."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.server.llm.conftest import DONE, END, LLM, MESSAGES, delta, event, usage

if TYPE_CHECKING:
    from tests.server.conftest import Connection
    from tests.server.llm.conftest import Person, Provider

STREAMS = 200


@pytest.mark.anyio
async def test_two_hundred_streams_at_once(person: Person, provider: Provider, database: Connection) -> None:
    database.execute("UPDATE llm_models SET prompt_price = 2, completion_price = 2 WHERE model = 'told'")
    try:
        provider.wait_for = STREAMS
        last = event({"choices": [], "usage": usage(10, 10)})
        provider.streams(*[delta("word ")] * 20, END, last, DONE)
        address = f"{person.gateway.base_url}{LLM}/chat/completions"
        headers = {"Authorization": f"Bearer {person.token}"}
        body = {"model": "told", "messages": MESSAGES, "stream": True, "max_tokens": 100}
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
            answers = await asyncio.gather(
                *(client.post(address, json=body, headers=headers) for _ in range(STREAMS))
            )
    finally:
        database.execute(
            "UPDATE llm_models SET prompt_price = 1000, completion_price = 2000 WHERE model = 'told'"
        )
    assert all(answer.text.endswith(DONE.decode()) for answer in answers)
    row = database.execute(
        "SELECT count(*), sum(credits_used) FROM credit_usage_attribution WHERE org_id = %s",
        [person.organization.org_id],
    ).fetchone()
    assert row == (STREAMS, STREAMS * Decimal("0.06") * 1_000)
    assert person.held(database) == 0
