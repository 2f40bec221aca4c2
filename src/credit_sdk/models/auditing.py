"""What administrators did."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import JsonValue

from credit_sdk.models._base import Result

ActorKind = Literal["user", "api_key", "system", "database"]


class AuditEntry(Result):
    """One change of administration: who (`actor`) changed what (`subject`), and from what to what.

    `action` is the kind of subject and what became of it, such as `allocation.updated`. `before` and `after`
    hold what changed, amounts in credits; of secrets only their names are told, in `secrets`. An actor of
    the kind `database` is the role that somebody was logged in as.
    """

    entry_id: UUID
    org_id: str
    actor: str
    actor_kind: ActorKind
    action: str
    subject: str
    before: dict[str, JsonValue]
    after: dict[str, JsonValue]
    secrets: tuple[str, ...]
    request_id: str | None = None
    created_at: datetime


class AuditPage(Result):
    """A page of the audit, newest first; `next_cursor` asks for the next one."""

    items: tuple[AuditEntry, ...]
    next_cursor: str | None = None
