"""The chain of digests over an organisation's append-only rows, and proofs out of it."""

from typing import Annotated, Literal

from pydantic import Field

from credit_sdk.models._base import Result

EntryKind = Literal["charge", "billing_event"]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal."""
Entry = dict[str, str | None]
"""A row as it is digested: each value as PostgreSQL writes it, amounts in millicredits."""


class Sealing(Result):
    """How many rows were added to chains."""

    entries_sealed: int


class ChainBreak(Result):
    """The first place of an organisation's chain that does not fit.

    `sequence` is None for a row that should be in the chain and is not.
    """

    org_id: str
    sequence: int | None
    kind: EntryKind | None
    entry_id: str | None
    reason: str


class ChainVerification(Result):
    """The outcome of computing every link anew; `waiting` rows are not sealed yet.

    Of `detached` rows some is in an archive that is detached: their links fit, and the rows cannot be seen.
    """

    entries: int
    detached: int = 0
    waiting: int
    breaks: tuple[ChainBreak, ...]

    @property
    def ok(self) -> bool:
        """Whether every row is as it was when it was sealed."""
        return not self.breaks


class ChainLink(Result):
    """One link: a row, its place, and the digest of everything up to it."""

    sequence: int
    kind: EntryKind
    entry: Entry
    digest: Digest


class ListedLink(ChainLink):
    """One link; where the row's archive is detached, `entry` is empty and `entry_digest` stands for it."""

    entry_digest: Digest | None = None


class ChainPage(Result):
    """Links in their order; `previous` is the digest of the link before the first one."""

    org_id: str
    previous: Digest
    items: tuple[ListedLink, ...]


class ChainHead(Result):
    """A chain up to some link, in one digest."""

    sequence: int
    digest: Digest


class Proof(ChainLink):
    """A row, its link, and the way from there to the head, to be checked by `credit_sdk.proof`.

    `links` are the digests of the rows between this one and the head. The head is the chain's,
    or a thousand links on.
    """

    org_id: str
    previous: Digest
    links: tuple[Digest, ...]
    head: ChainHead
