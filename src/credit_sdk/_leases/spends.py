"""What the journal says, line by line.

A line is the CRC-32 of a JSON array, a space, and the array: `lease` before the credits are asked for, `held`
when the books have answered, `spend`, `settled` for how many of a lease's spends the books have, and `ended`.
"""

import json.encoder
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias
from uuid import UUID
from zlib import crc32

from credit_sdk._flows.leasing import Spend

_quoted = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_CHECKSUM_LENGTH = 8
_ROOM = b"\0"


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """A lease as the books are asked for it; the request id names it. Amounts are millicredits."""

    request_id: str
    org_id: str
    user_id: str
    credits: int
    ttl_seconds: int


@dataclass(slots=True)
class LeftLease:
    """A lease as the journal of an ended process tells it. Without a hold the books' answer is not known."""

    terms: LeaseTerms
    hold_id: UUID | None = None
    spends: list[Spend] = field(default_factory=list)
    settled: int = 0
    has_ended: bool = False

    @property
    def unsettled(self) -> list[Spend]:
        """What the books may not know yet."""
        return self.spends[self.settled :]


Told: TypeAlias = tuple[list[LeftLease], int]
"""The leases of a journal, and how many of its lines could not be read."""


def opening_line(terms: LeaseTerms) -> bytes:
    """Say that credits are about to be asked for."""
    return _line(["lease", terms.request_id, terms.org_id, terms.user_id, terms.credits, terms.ttl_seconds])


def held_line(lease_id: str, hold_id: UUID) -> bytes:
    """Say which hold the books have placed."""
    return _line(["held", lease_id, str(hold_id)])


def settled_line(lease_id: str, count: int) -> bytes:
    """Say that the books have so many of a lease's spends, from the first on."""
    return _line(["settled", lease_id, count])


def ended_line(lease_id: str) -> bytes:
    """Say that a lease is settled and given back."""
    return _line(["ended", lease_id])


def spend_line(lease_id: str, spend: Spend) -> bytes:
    """Say what was spent. This is written for each charge, so it is put together by hand."""
    before, after = _around(lease_id, spend.service_type, spend.service_name)
    metadata = _encode(spend.metadata) if spend.metadata else "{}"
    text = f"{before}{_quoted(spend.request_id)},{spend.credits}{after}{metadata}]".encode()
    return b"%08x %b\n" % (crc32(text), text)


def read_spends(lines: Iterable[bytes]) -> list[Spend]:
    """Return what lines of this process say; they are what `spend_line` has made."""
    texts = b",".join(line[_CHECKSUM_LENGTH + 1 : -1] for line in lines)
    return [Spend(*fields) for _, _, *fields in json.loads(b"[%b]" % texts)]


def read_lines(lines: Iterable[bytes]) -> Told:
    """Return what a journal says. A line that is cut off or damaged says nothing, and is counted.

    Zeros are room that nothing was written into. Behind the last line they say nothing, and neither does a
    line before them that has no end: the process died while it wrote it, and told nobody. Before a line they
    are damage: what stood there had not reached the disk when the machine died.
    """
    leases: dict[str, LeftLease] = {}
    damaged = 0
    for line in lines:
        if _ROOM in line and not line.endswith(b"\n"):
            break
        written = line.lstrip(_ROOM)
        try:
            _read(_checked(written), leases)
        except (ValueError, KeyError, TypeError):
            damaged += 1
        else:
            damaged += written != line
    if damaged:
        # The count has lines that cannot be read now. What the books have they do not charge again.
        for lease in leases.values():
            lease.settled = 0
    return [lease for lease in leases.values() if not lease.has_ended], damaged


def _line(content: list[Any]) -> bytes:
    text = _encode(content).encode()
    return b"%08x %b\n" % (crc32(text), text)


@lru_cache(maxsize=1024)
def _around(lease_id: str, service_type: str, service_name: str | None) -> tuple[str, str]:
    """Return what the spends of a lease for one service have before and after that in which they differ."""
    return f'["spend",{_quoted(lease_id)},', f",{_quoted(service_type)},{_encode(service_name)},"


def _checked(line: bytes) -> list[Any]:
    text = line.removesuffix(b"\n")[_CHECKSUM_LENGTH + 1 :]
    if int(line[:_CHECKSUM_LENGTH], 16) != crc32(text):
        raise ValueError("the checksum does not fit")
    content: list[Any] = json.loads(text)
    return content


def _read(content: list[Any], leases: dict[str, LeftLease]) -> None:
    match content:
        case ["lease", str(request_id), *rest]:
            leases[request_id] = LeftLease(LeaseTerms(request_id, *rest))
        case ["held", lease_id, hold_id]:
            leases[lease_id].hold_id = UUID(hold_id)
        case ["spend", lease_id, *rest]:
            leases[lease_id].spends.append(Spend(*rest))
        case ["settled", lease_id, int(count)]:
            leases[lease_id].settled = count
        case ["ended", lease_id]:
            leases[lease_id].has_ended = True
        case _:
            raise ValueError("a line of an unknown kind")
