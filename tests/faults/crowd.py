"""One process of a crowd on one allocation: hundreds of tasks, each charging in its own way.

What each was told is written down, a line for each answer: `taken`, `held` or `refused`, the way, the request
id, and the amount in thousandths of a credit.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, TextIO

from credit_sdk import Account, AsyncCreditDeductionService, Retries
from credit_sdk.errors import RefusedError
from credit_sdk.operations import Deduct

SERVICE = "crowd"
MILLI = 1_000
LARGEST = 700
RETRIES = Retries(attempts=20, deadline=60, first_wait=0.005, longest_wait=0.1)


@dataclass(frozen=True)
class Crowd:
    """Who they are. `seed` chooses what they want, in an order that is their own."""

    url: str
    api_key: str | None
    org_id: str
    user_id: str
    name: str
    seed: int
    tasks: int
    log: str
    begin: str
    """A file that is there when all processes are: then they begin."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Member:
    """Charges the one allocation, in every way there is."""

    def __init__(self, crowd: Crowd, billing: AsyncCreditDeductionService, log: TextIO) -> None:
        self._account = Account(org_id=crowd.org_id, user_id=crowd.user_id)
        self._billing = billing
        self._log = log
        self.ways: list[Callable[[str, int], Awaitable[None]]] = [
            self.deduct, self.capture, self.capture_less, self.void, self.keep, self.batch, self.block,
        ]  # fmt: skip

    async def charge(self, way: Callable[[str, int], Awaitable[None]], request_id: str, milli: int) -> None:
        try:
            await way(request_id, milli)
        except RefusedError:
            self._say("refused", way.__name__, request_id, milli)

    async def deduct(self, request_id: str, milli: int) -> None:
        receipt = await self._billing.deduct(self._account, credits_of(milli), **named(request_id))
        self._say("taken", "deduct", request_id, milli_of(receipt.credits_used))

    async def capture(self, request_id: str, milli: int) -> None:
        hold = await self._billing.hold(self._account, credits_of(milli), **named(request_id))
        receipt = await self._billing.capture(hold)
        self._say("taken", "capture", request_id, milli_of(receipt.credits_used))

    async def capture_less(self, request_id: str, milli: int) -> None:
        hold = await self._billing.hold(self._account, credits_of(milli), **named(request_id))
        receipt = await self._billing.capture(hold, credits_of(milli // 2 + 1))
        self._say("taken", "capture_less", request_id, milli_of(receipt.credits_used))

    async def void(self, request_id: str, milli: int) -> None:
        hold = await self._billing.hold(self._account, credits_of(milli), **named(request_id))
        await self._billing.void(hold)

    async def keep(self, request_id: str, milli: int) -> None:
        await self._billing.hold(self._account, credits_of(milli), **named(request_id))
        self._say("held", "keep", request_id, milli)

    async def batch(self, request_id: str, milli: int) -> None:
        charges = {f"{request_id}-{number}": milli // 3 + number + 1 for number in range(3)}
        payer = {"org_id": self._account.org_id, "user_id": self._account.user_id}
        outcomes = await self._billing.deduct_many(
            Deduct(**payer, credits=credits_of(each), **named(name)) for name, each in charges.items()
        )
        for (name, each), outcome in zip(charges.items(), outcomes, strict=True):
            if outcome.receipt is None:
                self._say("refused", "batch", name, each)
            else:
                self._say("taken", "batch", name, milli_of(outcome.receipt.credits_used))

    async def block(self, request_id: str, milli: int) -> None:
        async with self._billing.charge(self._account, credits_of(milli), **named(request_id)) as charge:
            await asyncio.sleep(0)
        self._say("taken", "block", request_id, milli_of(charge.receipt.credits_used))

    def _say(self, word: str, way: str, request_id: str, milli: int) -> None:
        self._log.write(f"{word} {way} {request_id} {milli}\n")


def run(document: dict[str, Any]) -> None:
    """Let all tasks charge at once, and all processes begin together."""
    crowd = Crowd(**document)
    Path(crowd.log).touch()
    while not Path(crowd.begin).exists():
        time.sleep(0.005)
    asyncio.run(_run(crowd))


async def _run(crowd: Crowd) -> None:
    random = Random(crowd.seed)
    service = AsyncCreditDeductionService(
        crowd.url, api_key=crowd.api_key, outbox=False, retries=RETRIES, timeout=60
    )
    # The loop has nothing else to do while it opens the file.
    with Path(crowd.log).open("w") as log:  # noqa: ASYNC230
        async with service as billing:
            member = Member(crowd, billing, log)
            own = [(random.choice(member.ways), f"{crowd.name}-{number}") for number in range(crowd.tasks)]
            # Every process asks for these, which may be charged once only.
            shared = [(member.deduct, f"shared-{number}") for number in range(20)]
            wishes = own + shared
            random.shuffle(wishes)
            await asyncio.gather(*(member.charge(way, name, amount_of(name, random)) for way, name in wishes))


def amount_of(request_id: str, random: Random) -> int:
    return 123 if request_id.startswith("shared") else random.randint(1, LARGEST)


def named(request_id: str) -> dict[str, str]:
    return {"service_type": SERVICE, "request_id": request_id}


def credits_of(milli: int) -> Decimal:
    return Decimal(milli) / MILLI


def milli_of(credits: Decimal) -> int:
    return int(credits * MILLI)


__all__ = ["Crowd", "run"]
