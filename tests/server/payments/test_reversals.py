"""Refunds and disputes take back what is left, record the rest, and may come before the payment itself."""

from __future__ import annotations

import itertools
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from credit_sdk.operations import Spend
from reference_server.payments.events import facts_of
from tests.server.payments.conftest import event
from tests.server.test_outage import eventually

if TYPE_CHECKING:
    from credit_sdk.backends.sql import SqlBackend
    from tests.server.conftest import Organization
    from tests.server.payments.conftest import Buyer, Event, Sender, Shop

COMPLETED = "checkout.session.completed"
REFUNDED = "charge.refunded"
HUNDRED = Decimal(100)


def spend(ledger: SqlBackend, buyer: Buyer, credits: int) -> None:
    ledger.execute(Spend(user_id=buyer.user_id, credits=Decimal(credits), description="A print job"))


@pytest.fixture
def paid(sender: Sender, buyer: Buyer) -> Buyer:
    """A buyer who has paid."""
    assert sender.send(event(COMPLETED, buyer.paid())).status_code == 200
    return buyer


def test_a_refund_takes_the_credits_back(sender: Sender, books: Shop, paid: Buyer) -> None:
    sent = event(REFUNDED, paid.refunded(2_000))
    for _ in range(2):
        assert sender.send(sent).json()["outcome"] == "applied"
    assert books.balance(paid.user_id) == 0
    assert books.owed(paid.session_id) == (HUNDRED, 0)
    assert books.verified() == []


def test_a_refund_in_parts_takes_its_share_in_any_order(sender: Sender, books: Shop, paid: Buyer) -> None:
    """The amount of a charge's refunds is their sum: an older event says less."""
    for cents, left in ((500, 75), (1_500, 25), (1_000, 25), (1_500, 25)):
        assert sender.send(event(REFUNDED, paid.refunded(cents))).status_code == 200
        assert books.balance(paid.user_id) == left


def test_what_was_spent_is_owed(sender: Sender, books: Shop, paid: Buyer, owner_ledger: SqlBackend) -> None:
    spend(owner_ledger, paid, 70)
    assert sender.send(event(REFUNDED, paid.refunded(2_000))).status_code == 200
    assert books.balance(paid.user_id) == 0
    assert books.owed(paid.session_id) == (30, 70)


def test_of_a_user_who_was_switched_off_all_is_owed(sender: Sender, books: Shop, paid: Buyer) -> None:
    books.database.execute("UPDATE users SET is_active = FALSE WHERE subject = %s", [paid.user_id])
    assert sender.send(event(REFUNDED, paid.refunded(2_000))).status_code == 200
    assert (books.balance(paid.user_id), books.owed(paid.session_id)) == (HUNDRED, (0, HUNDRED))


def test_a_dispute_takes_back_and_gives_again_when_it_is_won(
    sender: Sender, books: Shop, paid: Buyer, owner_ledger: SqlBackend
) -> None:
    spend(owner_ledger, paid, 40)
    sender.send(event("charge.dispute.created", paid.disputed("needs_response")))
    assert (books.balance(paid.user_id), books.owed(paid.session_id)) == (0, (60, 40))
    sender.send(event("charge.dispute.closed", paid.disputed("won")))
    assert (books.balance(paid.user_id), books.owed(paid.session_id)) == (60, (0, 0))
    assert books.verified() == []


def test_a_dispute_that_is_lost_stays_taken(sender: Sender, books: Shop, paid: Buyer) -> None:
    for kind, status in (("created", "under_review"), ("closed", "lost")):
        sender.send(event(f"charge.dispute.{kind}", paid.disputed(status)))
    assert books.balance(paid.user_id) == 0


def test_a_dispute_that_is_over_does_not_begin_again(sender: Sender, books: Shop, paid: Buyer) -> None:
    sender.send(event("charge.dispute.closed", paid.disputed("won")))
    sender.send(event("charge.dispute.created", paid.disputed("needs_response")))
    assert books.balance(paid.user_id) == HUNDRED


def test_an_inquiry_takes_nothing(sender: Sender, books: Shop, paid: Buyer) -> None:
    sender.send(event("charge.dispute.created", paid.disputed("warning_needs_response")))
    assert books.balance(paid.user_id) == HUNDRED


def test_refund_and_dispute_take_no_more_than_was_given(sender: Sender, books: Shop, paid: Buyer) -> None:
    sender.send(event(REFUNDED, paid.refunded(1_500)))
    sender.send(event("charge.dispute.created", paid.disputed("needs_response")))
    assert (books.balance(paid.user_id), books.owed(paid.session_id)) == (0, (HUNDRED, 0))


def story(buyer: Buyer) -> list[Event]:
    """Return what Stripe tells of a purchase that is partly refunded and then disputed and won."""
    return [
        event(COMPLETED, buyer.paid()),
        event(REFUNDED, buyer.refunded(500)),
        event("charge.dispute.created", buyer.disputed("needs_response", 1_500)),
        event("charge.dispute.closed", buyer.disputed("won", 1_500)),
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_the_order_of_events_does_not_matter(
    sender: Sender, books: Shop, buyer: Buyer, order: tuple[int, ...]
) -> None:
    events = story(buyer)
    for place in order:
        assert sender.send(events[place]).status_code == 200
    assert books.balance(buyer.user_id) == 75
    assert books.owed(buyer.session_id) == (25, 0)
    assert {books.outcome(sent) for sent in events} == {"applied"}


def test_events_at_the_same_time_end_as_one_after_the_other(
    sender: Sender, books: Shop, buyer: Buyer
) -> None:
    answers = sender.send_all([*story(buyer), *story(buyer)] * 3)
    assert {answer.status_code for answer in answers} == {200}
    assert books.balance(buyer.user_id) == 75
    assert books.verified() == []


def test_a_refund_waits_for_a_payment_that_is_being_applied(
    sender: Sender, books: Shop, buyer: Buyer
) -> None:
    completed = event(COMPLETED, buyer.paid())
    facts = facts_of(COMPLETED, buyer.paid())
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor(1) as thread, psycopg.connect(books.server.database_url) as another_server:
        another_server.execute(
            "SELECT payments.receive_event(%s::jsonb, %s::jsonb)", [json.dumps(completed), json.dumps(facts)]
        )
        refund = thread.submit(sender.send, event(REFUNDED, buyer.refunded(2_000)))
        eventually(lambda: refund.done() or books.row(waiting)[0] > 0)
        another_server.commit()
        assert refund.result().json()["outcome"] == "applied"
    assert books.balance(buyer.user_id) == 0


def test_a_refund_of_nothing_that_is_known_is_kept_for_an_operator(
    sender: Sender, books: Shop, buyer: Buyer
) -> None:
    sent = event(REFUNDED, buyer.refunded(2_000) | {"payment_intent": f"pi_{secrets.token_hex(6)}"})
    assert sender.send(sent).json()["outcome"] == "unmatched"
    assert books.outcome(sent) == "unmatched"


def test_a_pool_gives_back_what_is_not_allocated(
    sender: Sender, books: Shop, organization: Organization
) -> None:
    before = books.pool(organization)
    owner = organization.sessions["owner"]
    bought = books.buyer("", owner, books.make_package(), org_id=organization.org_id)
    assert sender.send(event(COMPLETED, bought.paid())).status_code == 200
    assert books.pool(organization) == before + 100
    everything = {"user_id": organization.member, "allocated_credits": int(before) + 70}
    allocated = books.server.post(f"credits/{organization.org_id}/allocate", everything, bearer=owner)
    assert allocated.status_code == 200
    assert sender.send(event(REFUNDED, bought.refunded(2_000))).status_code == 200
    assert (books.pool(organization), books.owed(bought.session_id)) == (0, (30, 70))
    assert books.verified(organization.org_id) == []
    history = books.database.execute(
        "SELECT event_type, amount, credits FROM org_billing_history WHERE org_id = %s"
        " ORDER BY created_at DESC",
        [organization.org_id],
    ).fetchall()
    assert ("credit_purchase", 20, 100_000) in history
    assert history[0] == ("credit_refund", 0, -30_000)
