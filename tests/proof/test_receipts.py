"""Receipts and chains, checked offline: whatever is changed in them is refused."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_sdk import BrokenProofError
from credit_sdk.models import ChainHead, ChainLink, Entry, EntryKind, Proof
from credit_sdk.proof import (
    FIELDS,
    FIRST_PREVIOUS,
    chain_digest,
    check_chain,
    check_receipt,
    entry_digest,
    receipt,
    segment,
)

LINKS = 6


def charge(number: int) -> Entry:
    given = {
        "id": str(UUID(int=number)),
        "org_id": "acme",
        "user_id": "ada",
        "credits_used": str(1_000 * number),
        "service_type": "valuation",
        "service_name": "né 本",
        "request_id": f"job-{number}",
        "request_metadata": '{"a": [1, null]}',
        "created_at": "2027-01-20T12:00:00.000001Z",
    }
    return {name: given.get(name) for name in FIELDS["charge"]}


def event(number: int) -> Entry:
    given = {"id": str(UUID(int=number)), "org_id": "acme", "event_type": "credit_grant", "amount": "0.00"}
    return {name: given.get(name) for name in FIELDS["billing_event"]}


def links() -> Iterator[ChainLink]:
    digest = bytes.fromhex(FIRST_PREVIOUS)
    for sequence in range(1, LINKS + 1):
        kind: EntryKind = "billing_event" if sequence == 2 else "charge"
        entry = event(sequence) if kind == "billing_event" else charge(sequence)
        digest = chain_digest(digest, sequence, entry_digest(kind, entry))
        yield ChainLink(sequence=sequence, kind=kind, entry=entry, digest=digest.hex())


CHAIN = list(links())


def proof_of(sequence: int) -> Proof:
    link = CHAIN[sequence - 1]
    return Proof(
        **link.model_dump(),
        org_id="acme",
        previous=CHAIN[sequence - 2].digest if sequence > 1 else FIRST_PREVIOUS,
        links=tuple(entry_digest(each.kind, each.entry).hex() for each in CHAIN[sequence:]),
        head=ChainHead(sequence=LINKS, digest=CHAIN[-1].digest),
    )


def exported(after: int = 0) -> list[str]:
    previous = CHAIN[after - 1].digest if after else FIRST_PREVIOUS
    return list(segment("acme", after, previous, CHAIN[after:]))


def test_the_canonical_form_is_fixed() -> None:
    """Computed by another program; what was sealed must fit for ever."""
    assert CHAIN[0].digest == "2a92e18a6bfd7e571a66ca4ec3af21be7d8dcb65d0c4a7088cf6b757ea3a9951"
    assert CHAIN[-1].digest == "ef76259b127788d922ea47f9e59c99acfce9ed1d22ad09781c4bce2ee259bc78"


@pytest.mark.parametrize("sequence", range(1, LINKS + 1))
def test_a_receipt_fits(sequence: int) -> None:
    checked = check_receipt(receipt(proof_of(sequence)))
    assert checked.model_dump() == proof_of(sequence).model_dump()


@pytest.mark.parametrize("noted", range(2, LINKS + 1))
def test_a_head_that_was_noted_down_since_is_met(noted: int) -> None:
    check_receipt(receipt(proof_of(2)), head=CHAIN[noted - 1].digest)


def test_a_head_of_another_chain_is_not_met() -> None:
    with pytest.raises(BrokenProofError, match="sequence number 3: the chain had not the head"):
        check_receipt(receipt(proof_of(3)), head=CHAIN[0].digest)


def test_a_row_forged_behind_a_trusted_head_is_not_met() -> None:
    genuine = proof_of(3)
    row = entry_digest(CHAIN[0].kind, CHAIN[0].entry)
    digest = chain_digest(bytes.fromhex(genuine.previous), 3, row).hex()
    forged = genuine.model_copy(
        update={
            "kind": CHAIN[0].kind,
            "entry": CHAIN[0].entry,
            "digest": digest,
            "links": (),
            "head": ChainHead(sequence=3, digest=digest),
        }
    )
    check_receipt(receipt(forged))
    with pytest.raises(BrokenProofError, match="the chain had not the head"):
        check_receipt(receipt(forged), head=genuine.previous)


def test_every_byte_of_a_receipt_counts_and_the_sequence_number_is_named() -> None:
    text = receipt(proof_of(3))
    document = json.loads(text)
    itself = range(text.index('"sequence"'), text.index('"sequence": 3') + len('"sequence": 3,'))
    tried = 0
    for place, character in enumerate(text):
        for other in ("0", "9", "a", "A", '"', "z", "\x00"):
            changed = text[:place] + other + text[place + 1 :]
            try:
                means_the_same = json.loads(changed) == document
            except ValueError:
                means_the_same = False
            if other == character or means_the_same:
                continue
            tried += 1
            with pytest.raises(BrokenProofError) as caught:
                check_receipt(changed)
            if place not in itself:
                assert caught.value.sequence == 3
                assert "sequence number 3" in str(caught.value)
    assert tried > 5_000


@pytest.mark.parametrize("name", [name for name, value in charge(3).items() if value is not None])
def test_a_changed_value_is_named_by_the_sequence_number(name: str) -> None:
    document = json.loads(receipt(proof_of(3)))
    document["entry"][name] = document["entry"][name][:-1] + "7"
    with pytest.raises(BrokenProofError, match="sequence number 3") as caught:
        check_receipt(json.dumps(document))
    assert caught.value.sequence == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"org_id": "other"},
        {"sequence": 4},
        {"sequence": 0},
        {"sequence": 2**63},
        {"sequence": "3"},
        {"kind": "billing_event"},
        {"kind": "other"},
        {"entry": {}},
        {"entry": charge(4)},
        {"entry": charge(3) | {"more": "x"}},
        {"entry": charge(3) | {"user_id": None}},
        {"entry": charge(3) | {"user_id": "\ud800"}},
        {"previous": "00" * 32},
        {"previous": "00" * 31},
        {"digest": CHAIN[3].digest},
        {"digest": CHAIN[2].digest.upper()},
        {"links": []},
        {"links": [*proof_of(3).links, "00" * 32]},
        {"head": {"sequence": LINKS, "digest": CHAIN[4].digest}},
        {"head": {"sequence": 5, "digest": CHAIN[-1].digest}},
        {"format": "credits-receipt-2"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_changed_part_is_refused(changes: dict[str, Any]) -> None:
    document = json.loads(receipt(proof_of(3)))
    with pytest.raises(BrokenProofError):
        check_receipt(json.dumps(document | changes))


def test_a_name_that_stands_twice_is_refused() -> None:
    text = receipt(proof_of(3)).replace('"user_id": "ada"', '"user_id": "eve", "user_id": "ada"')
    with pytest.raises(BrokenProofError, match="cannot be read"):
        check_receipt(text)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "x", "[" * 100_000, '{"format": NaN}'])
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(BrokenProofError, match="cannot be read"):
        check_receipt(text)


@pytest.mark.parametrize("after", range(LINKS + 1))
def test_a_chain_fits_from_any_link_on(after: int) -> None:
    checked = check_chain(exported(after), head=CHAIN[-1].digest)
    assert (checked.org_id, checked.links) == ("acme", LINKS - after)
    assert checked.head == ChainHead(sequence=LINKS, digest=CHAIN[-1].digest)


@given(st.data())
def test_a_byte_of_a_chain_is_named_by_its_sequence_number(data: st.DataObject) -> None:
    lines = exported()
    sequence = data.draw(st.integers(1, LINKS))
    line = lines[sequence]
    place = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.characters(codec="utf-8"))
    lines[sequence] = line[:place] + other + line[place + 1 :]
    try:
        same = json.loads(lines[sequence]) == json.loads(line)
    except ValueError:
        same = False
    if same:
        check_chain(lines)
        return
    with pytest.raises(BrokenProofError) as caught:
        check_chain(lines)
    assert caught.value.sequence == sequence


@pytest.mark.parametrize("place", range(1, LINKS))
def test_a_chain_without_one_link_is_refused(place: int) -> None:
    lines = exported()
    del lines[place]
    with pytest.raises(BrokenProofError) as caught:
        check_chain(lines)
    assert caught.value.sequence == place


def test_a_chain_without_its_end_fits_but_has_not_the_head() -> None:
    lines = exported()[:-1]
    assert check_chain(lines).head.sequence == LINKS - 1
    with pytest.raises(BrokenProofError, match="had not the head"):
        check_chain(lines, head=CHAIN[-1].digest)


@pytest.mark.parametrize(
    "first", ["", "{}", exported()[0].replace("acme", "other"), exported()[0].replace("00", "01"),
              exported()[0].replace("-1", "-2"), exported()[0].replace("00", "0x")],
)  # fmt: skip
def test_a_first_line_that_was_changed_is_refused(first: str) -> None:
    with pytest.raises(BrokenProofError):
        check_chain([first, *exported()[1:]])


def test_digests_of_other_rows_differ_also_where_texts_run_into_each_other() -> None:
    first = charge(1) | {"service_type": "ab", "service_name": "c"}
    second = charge(1) | {"service_type": "a", "service_name": "bc"}
    third = charge(1) | {"service_type": "abc", "service_name": None}
    fourth = charge(1) | {"service_type": "abc", "service_name": ""}
    digests = {entry_digest("charge", each) for each in (first, second, third, fourth)}
    assert len(digests) == 4
