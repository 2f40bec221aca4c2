"""Check, without a database and without a network, that history was not rewritten.

Every row of an organisation's books is a link of a chain:

    row    = sha256(kind, value, value, ...)       each as its length in four bytes and its UTF-8;
                                                   None is the length ffffffff and nothing
    digest = sha256(previous digest + sequence in eight bytes + row)

Numbers are big-endian; the digest before the first link is 32 zero bytes. Values are texts, as PostgreSQL
writes them: amounts in millicredits, times in UTC to the microsecond.

A receipt that fits proves that its row is in a chain with this head. Which head is the right one, only
somebody can say who noted it down at the time.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from credit_sdk.errors import BrokenProofError
from credit_sdk.models import ChainHead, ChainLink, Entry, EntryKind, ListedLink, Proof

RECEIPT_FORMAT: Final = "credits-receipt-1"
CHAIN_FORMAT: Final = "credits-chain-1"
FIRST_PREVIOUS: Final = "00" * 32
"""The digest before the first link."""

FIELDS: Final[Mapping[EntryKind, tuple[str, ...]]] = {
    "charge": (
        "id", "org_id", "user_id", "allocation_id", "credits_used", "service_type", "service_name",
        "api_cost", "markup_applied", "request_id", "request_metadata", "refund_of", "hold_id",
        "remaining_after", "refundable_after", "created_at", "api_key_id",
    ),
    "billing_event": (
        "id", "org_id", "subscription_id", "event_type", "amount", "currency", "credits", "request_id",
        "payment_status", "payment_method", "paid_at", "period_start", "period_end", "event_metadata",
        "notes", "created_at",
    ),
}  # fmt: skip
"""The values of a row that are digested, in their order."""

_SEQUENCE = re.compile(r'"sequence": *([0-9]{1,18})\b', re.ASCII)
_NOTHING = b"\xff\xff\xff\xff"
_ModelT = TypeVar("_ModelT", bound=BaseModel)


class _Receipt(Proof):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    format: str


class _Segment(BaseModel):
    """The first line of an exported chain: what its links follow."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    format: str
    org_id: str
    after: int
    previous: str


class _Link(ListedLink):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class CheckedChain:
    """What a chain that fits says: its organisation, how many links were checked, and its last link.

    `vouched` is the sequence number of the head that was given: rows up to it are those of the true chain.
    Whoever can change the database can have put later ones there since. None if none was given.
    The rows of `detached` links are in an archive, so that only their digests were there.
    """

    org_id: str
    links: int
    head: ChainHead
    vouched: int | None = None
    detached: int = 0


def entry_digest(kind: EntryKind, entry: Entry) -> bytes:
    """Return the digest of a row; raise `BrokenProofError` unless it has exactly the fields of its kind."""
    if entry.keys() != set(FIELDS[kind]):
        raise BrokenProofError(f"A row of the kind {kind} has other fields.")
    return sha256(b"".join(map(_canonical, [kind, *(entry[name] for name in FIELDS[kind])]))).digest()


def chain_digest(previous: bytes, sequence: int, row: bytes) -> bytes:
    """Return the digest of the link at a place, after another one and with the digest of a row."""
    return sha256(previous + sequence.to_bytes(8, "big", signed=True) + row).digest()


def receipt(proof: Proof) -> str:
    """Return a proof as the JSON document that `check_receipt` reads."""
    return json.dumps({"format": RECEIPT_FORMAT, **proof.model_dump(mode="json")}, indent=2)


def check_receipt(text: str, *, head: str | None = None) -> Proof:
    """Return the proof of a receipt whose row, link and way to its head fit together.

    `head` is a digest that was noted down before, by somebody who is trusted: then the chain must have had
    it at this row or on the way to the receipt's head. A head from before the row says nothing about the
    row, and is refused. Raises `BrokenProofError`, which names the sequence number.
    """
    claimed = _SEQUENCE.search(text)
    proof = _read(_Receipt, text, "The receipt", int(claimed[1]) if claimed else None)
    if proof.format != RECEIPT_FORMAT:
        raise _broken(proof.sequence, f"the receipt is not of the format {RECEIPT_FORMAT}")
    digests = [bytes.fromhex(proof.previous), *_way(proof)]
    if digests[1].hex() != proof.digest:
        raise _broken(proof.sequence, "the row does not have the digest that the receipt gives it")
    if proof.sequence == 1 and proof.previous != FIRST_PREVIOUS:
        raise _broken(1, "there is nothing before the first link")
    if (proof.head.sequence, proof.head.digest) != (proof.sequence + len(proof.links), digests[-1].hex()):
        raise _broken(proof.sequence, "the way from the row does not lead to the receipt's head")
    if head is not None and head not in [digest.hex() for digest in digests[1:]]:
        raise _broken(
            proof.sequence,
            f"the chain had not the head {head} between {proof.sequence} and {proof.head.sequence}",
        )
    return Proof(**proof.model_dump(exclude={"format"}))


def _way(proof: Proof) -> Iterator[bytes]:
    """Return the digests of the links from the row to the head."""
    if not 0 < proof.sequence < 2**63 - len(proof.links):
        raise _broken(proof.sequence, "that cannot be a sequence number")
    row = _entry_digest(proof.org_id, proof)
    first = chain_digest(bytes.fromhex(proof.previous), proof.sequence, row)
    later = enumerate(map(bytes.fromhex, proof.links), start=proof.sequence + 1)
    return accumulate(later, lambda digest, link: chain_digest(digest, *link), initial=first)


def segment(org_id: str, after: int, previous: str, links: Iterable[ChainLink]) -> Iterator[str]:
    """Return the lines that `check_chain` reads, for links that follow the digest `previous`."""
    yield json.dumps({"format": CHAIN_FORMAT, "org_id": org_id, "after": after, "previous": previous})
    for link in links:
        fields = link.model_dump(mode="json")
        if fields.get("entry_digest") is None:
            fields.pop("entry_digest", None)
        yield json.dumps(fields)


def check_chain(lines: Iterable[str], *, head: str | None = None) -> CheckedChain:
    """Check an exported chain line by line, and return what it says.

    With `head`, the chain must have had this digest somewhere: it vouches for what is before it. Raises
    `BrokenProofError`, which names the first sequence number that does not fit.
    """
    reading = iter(lines)
    start = _read(_Segment, next(reading, ""), "The first line")
    if start.format != CHAIN_FORMAT or start.after < 0:
        raise BrokenProofError(f"The first line is not one of the format {CHAIN_FORMAT}.")
    if start.after == 0 and start.previous != FIRST_PREVIOUS:
        raise _broken(1, "there is nothing before the first link")
    sequence, digest = start.after, _from_hex(start.previous)
    vouched = sequence if digest.hex() == head else None
    detached = 0
    for line in reading:
        sequence += 1
        link = _read(_Link, line, "the link", sequence)
        if link.sequence != sequence:
            raise _broken(sequence, f"the link {link.sequence} stands in its place")
        detached += not link.entry
        digest = chain_digest(digest, sequence, _sealed_digest(start.org_id, link))
        if digest.hex() != link.digest:
            raise _broken(sequence, "the row or the link was changed")
        if link.digest == head:
            vouched = sequence
    if head is not None and vouched is None:
        raise _broken(sequence, f"the chain had not the head {head} between {start.after} and {sequence}")
    last = ChainHead(sequence=sequence, digest=digest.hex())
    return CheckedChain(start.org_id, sequence - start.after, last, vouched, detached)


def _sealed_digest(org_id: str, link: ListedLink) -> bytes:
    """Return the digest of a link's row, or the one that stands for a row in an archive."""
    if link.entry_digest is not None and not link.entry:
        return bytes.fromhex(link.entry_digest)
    return _entry_digest(org_id, link)


def _entry_digest(org_id: str, link: ChainLink) -> bytes:
    try:
        row = entry_digest(link.kind, link.entry)
    except (BrokenProofError, UnicodeEncodeError):
        raise _broken(link.sequence, "the row has not the fields of its kind") from None
    if link.entry["org_id"] != org_id:
        raise _broken(link.sequence, "the row is another organisation's")
    return row


def _canonical(value: str | None) -> bytes:
    if value is None:
        return _NOTHING
    text = value.encode()
    return len(text).to_bytes(4, "big") + text


def _from_hex(digest: str) -> bytes:
    try:
        return bytes.fromhex(digest)
    except ValueError:
        raise BrokenProofError("The first line's digest is not one.") from None


def _read(kind: type[_ModelT], text: str, what: str, sequence: int | None = None) -> _ModelT:
    try:
        return kind.model_validate_json(json.dumps(json.loads(text, object_pairs_hook=_unambiguous)))
    except ValidationError as error:
        wrong = ".".join(map(str, error.errors()[0]["loc"])) or "it"
    except (ValueError, RecursionError):
        wrong = "it"
    reason = f"{what} cannot be read: {wrong} is not as it was written"
    if sequence is None:
        raise BrokenProofError(f"{reason}.")
    raise _broken(sequence, reason[0].lower() + reason[1:])


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice, of which programs see either one."""
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name stands twice")
    return names


def _broken(sequence: int, reason: str) -> BrokenProofError:
    return BrokenProofError(f"Broken at sequence number {sequence}: {reason}.", sequence=sequence)
