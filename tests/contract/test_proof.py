"""The contract of proofs, on the backends that have them: direct SQL and HTTP, in both colours."""

from collections.abc import Callable

import pytest

from credit_sdk import proof
from credit_sdk.contract.harness import Harness, make, unique
from credit_sdk.errors import ConflictError, NotAMemberError, NotFoundError, ValidationFailedError
from credit_sdk.operations import GetProof, ListChain, Refund, Seal, VerifyChain


@pytest.fixture(
    params=[f"{backend}-{colour}" for backend in ("sql", "http") for colour in ("blocking", "awaiting")]
)
def ledger(request: pytest.FixtureRequest, harnesses: Callable[[str, str], Harness]) -> Harness:
    backend, _, colour = request.param.partition("-")
    return harnesses(backend, colour)


def _seal(ledger: Harness) -> None:
    while ledger.execute(Seal()).entries_sealed:
        pass


def test_a_charge_and_its_refund_are_proved(ledger: Harness) -> None:
    payer = ledger.prepare(allocated=100)
    charge = ledger.execute(payer.deduct("12.5"))
    back = ledger.execute(make(Refund, org_id=payer.org_id, charge_id=charge.charge_id, credits="2.5"))
    _seal(ledger)
    taken = ledger.client.credits.proof(payer.org_id, charge.request_id)
    given_back = ledger.client.credits.proof(payer.org_id, back.request_id)
    assert (taken.entry["credits_used"], taken.entry["user_id"]) == ("12500", payer.user_id)
    assert given_back.entry["credits_used"] == "-2500"
    assert given_back.entry["refund_of"] == str(charge.charge_id)
    assert taken.sequence < given_back.sequence
    for found in taken, given_back:
        checked = proof.check_receipt(proof.receipt(found), head=given_back.head.digest)
        assert checked.head == given_back.head


def test_the_chain_is_exported_and_fits(ledger: Harness) -> None:
    payer = ledger.prepare(allocated=100)
    for _ in range(3):
        ledger.execute(payer.deduct(1))
    _seal(ledger)
    page = ledger.execute(ListChain(org_id=payer.org_id))
    checked = proof.check_chain(proof.segment(payer.org_id, 0, page.previous, page.items))
    assert checked.links == len(page.items) >= 5
    rest = ledger.execute(ListChain(org_id=payer.org_id, after=2, limit=2))
    assert rest.items == page.items[2:4]
    assert rest.previous == page.items[1].digest
    verified = ledger.execute(VerifyChain(org_id=payer.org_id))
    assert (verified.ok, verified.entries, verified.waiting) == (True, checked.links, 0)


def test_what_is_not_sealed_yet_is_a_conflict(ledger: Harness) -> None:
    payer = ledger.prepare(allocated=100)
    charge = ledger.execute(payer.deduct(1))
    with pytest.raises(ConflictError, match="not sealed yet"):
        ledger.execute(GetProof(org_id=payer.org_id, request_id=charge.request_id))


def test_what_is_not_there_is_not_found(ledger: Harness) -> None:
    payer = ledger.prepare()
    with pytest.raises(NotFoundError, match="no charge"):
        ledger.execute(GetProof(org_id=payer.org_id, request_id="nobody's"))
    with pytest.raises(NotAMemberError):
        ledger.execute(GetProof(org_id=unique("org"), request_id="nobody's"))


def test_request_ids_with_every_character_are_found(ledger: Harness) -> None:
    payer = ledger.prepare(allocated=100)
    request_id = "a/b?c=d&e %2F#" + unique("job")
    ledger.execute(payer.deduct(1, request_id=request_id))
    _seal(ledger)
    assert ledger.client.credits.proof(payer.org_id, request_id).entry["request_id"] == request_id


def test_a_request_id_that_cannot_be_one_is_refused(ledger: Harness) -> None:
    with pytest.raises(ValidationFailedError):
        ledger.client.credits.proof("acme", "")
