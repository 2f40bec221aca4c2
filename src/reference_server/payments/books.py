"""What the database knows of payments: the functions of its schema `payments`."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from credit_sdk.backends.sql import AsyncSqlBackend
from reference_server.payments.packages import Package

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Books:
    """Calls the functions; each is one statement, which commits by itself."""

    backend: AsyncSqlBackend

    async def packages(self) -> list[Package]:
        """Return what is for sale now, cheapest first."""
        rows = await self.backend.ask("SELECT payments.list_packages()")
        return [Package.model_validate(row) for row in rows]

    async def find_buyer(self, user_id: str | None, org_id: str | None) -> Document:
        """Return who buys, and as which customer; raise `NotFoundError` for nobody."""
        found: Document = await self.backend.ask("SELECT payments.find_buyer($1, $2)", user_id, org_id)
        return found

    async def keep_customer(self, customer_id: str, buyer: Document) -> str:
        """Keep a new customer and return which one the buyer is."""
        statement = "SELECT payments.keep_customer($1, $2, $3)"
        kept: str = await self.backend.ask(statement, customer_id, buyer["user_id"], buyer["org_id"])
        return kept

    async def open_checkout(self, customer_id: str, package_id: str) -> UUID:
        """Write down what is about to be bought and return its id."""
        opened: UUID = await self.backend.ask(
            "SELECT payments.open_checkout($1, $2)", customer_id, package_id
        )
        return opened

    async def note_session(self, checkout_id: UUID, session_id: str) -> None:
        """Write down what Stripe calls a checkout."""
        await self.backend.ask("SELECT payments.note_session($1, $2)", checkout_id, session_id)

    async def subscriptions(self, user_id: str | None, org_id: str | None) -> list[Document]:
        """Return the subscriptions of a user, or of an organisation."""
        rows: list[Document] = await self.backend.ask(
            "SELECT payments.list_subscriptions($1, $2)", user_id, org_id
        )
        return rows

    async def open_top_ups(self) -> int:
        """Write down what is to be bought by itself, and return how much that is."""
        opened: int = await self.backend.ask("SELECT payments.open_top_ups()")
        return opened

    async def lease_top_ups(self, seconds: int) -> list[Document]:
        """Take what Stripe is to be asked for, for so many seconds."""
        leased: list[Document] = await self.backend.ask("SELECT payments.lease_top_ups($1)", seconds)
        return leased

    async def confirm_top_up(self, top_up_id: str) -> bool:
        """Return whether Stripe may be asked for a top-up; what its owner wants no more is given up."""
        is_wanted: bool = await self.backend.ask("SELECT payments.confirm_top_up($1)", top_up_id)
        return is_wanted

    async def note_top_up(self, top_up_id: str, payment_id: str) -> None:
        """Write down which payment a top-up is."""
        await self.backend.ask("SELECT payments.note_top_up($1, $2)", top_up_id, payment_id)

    async def fail_top_up(self, top_up_id: str, reason: str) -> None:
        """Write down that a top-up failed, and why."""
        await self.backend.ask("SELECT payments.fail_top_up($1, $2)", top_up_id, reason)

    async def receive_event(self, event: Document, facts: Document) -> Document:
        """Apply an event once; return its `outcome` and `detail`."""
        statement = "SELECT payments.receive_event($1::jsonb, $2::jsonb)"
        outcome: Document = await self.backend.ask(statement, json.dumps(event), json.dumps(facts))
        return outcome
