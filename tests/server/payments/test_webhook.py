"""Stripe's events: who may send them, what each gives, and that it gives it once."""

from __future__ import annotations

import json
import secrets
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.server.payments.conftest import event, signature

if TYPE_CHECKING:
    from tests.server.conftest import Running, StartServer
    from tests.server.payments.conftest import Buyer, Sender, Shop

COMPLETED = "checkout.session.completed"
HUNDRED = Decimal(100)


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("code", "")


FORGERIES = [
    "82 unsigned",
    "82 empty",
    "82 no time",
    "82 two times",
    "82 a time that is none",
    "82 not ascii",
    "82 another secret",
    "83 one byte changed",
    "84 too old",
    "85 in the future",
    "86 serialised again",
]


def forged(what: str, body: str) -> tuple[str, str | None]:
    """Return a body and a signature that do not belong together, or no longer, or not yet."""
    now = int(time.time())
    signed = signature(body)
    return {
        "82 unsigned": (body, None),
        "82 empty": (body, ""),
        "82 no time": (body, signed.partition(",")[2]),
        "82 two times": (body, f"{signature(body, at=now - 4_000)},{signed}"),
        "82 a time that is none": (body, signed.replace(",", "=5,")),
        "82 not ascii": (body, f"{signed}\xe9"),
        "82 another secret": (body, signature(body, secret="whsec_of_somebody")),
        "83 one byte changed": (body.replace("2000", "2001"), signed),
        "84 too old": (body, signature(body, at=now - 400)),
        "85 in the future": (body, signature(body, at=now + 4_000)),
        "86 serialised again": (json.dumps(json.loads(body), indent=1), signed),
    }[what]


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_events_are_refused(sender: Sender, books: Shop, buyer: Buyer, forgery: str) -> None:
    sent = event(COMPLETED, buyer.paid())
    assert code(sender.send_raw(*forged(forgery, json.dumps(sent)))) == (400, "invalid_signature")
    assert books.balance(buyer.user_id) == 0
    assert sender.send(sent).status_code == 200
    assert books.balance(buyer.user_id) == HUNDRED


def test_row_87_a_duplicate_gives_nothing_more(sender: Sender, books: Shop, buyer: Buyer) -> None:
    sent = event(COMPLETED, buyer.paid())
    first, second = sender.send(sent), sender.send(sent)
    assert (first.json()["replayed"], second.json()["replayed"]) == (False, True)
    assert books.balance(buyer.user_id) == HUNDRED


def test_row_87_the_same_payment_in_another_event_gives_nothing_more(
    sender: Sender, books: Shop, buyer: Buyer
) -> None:
    for kind in (COMPLETED, "checkout.session.async_payment_succeeded", COMPLETED):
        assert sender.send(event(kind, buyer.paid())).status_code == 200
    assert books.balance(buyer.user_id) == HUNDRED


def test_row_87_duplicates_at_the_same_time_give_once(sender: Sender, books: Shop, buyer: Buyer) -> None:
    events = [event(COMPLETED, buyer.paid()) for _ in range(4)] * 4
    assert {answer.status_code for answer in sender.send_all(events)} == {200}
    assert books.balance(buyer.user_id) == HUNDRED
    assert books.verified() == []


def test_row_88_another_currency_is_refused_and_kept(sender: Sender, books: Shop, buyer: Buyer) -> None:
    sent = event(COMPLETED, buyer.paid(currency="jpy"))
    for _ in range(2):
        assert code(sender.send(sent)) == (422, "validation_failed")
    assert books.balance(buyer.user_id) == 0
    assert books.outcome(sent) == "refused"


def test_row_88_less_than_the_price_is_refused(sender: Sender, books: Shop, buyer: Buyer) -> None:
    for cents in (0, 1_999, None):
        sent = event(COMPLETED, buyer.paid(amount_total=cents))
        assert code(sender.send(sent)) == (422, "validation_failed")
    assert books.balance(buyer.user_id) == 0


def test_row_89_an_unpaid_session_gives_nothing_until_it_is_paid(
    sender: Sender, books: Shop, buyer: Buyer
) -> None:
    assert sender.send(event(COMPLETED, buyer.paid(payment_status="unpaid"))).status_code == 200
    assert books.balance(buyer.user_id) == 0
    later = "checkout.session.async_payment_succeeded"
    assert sender.send(event(later, buyer.paid())).status_code == 200
    assert books.balance(buyer.user_id) == HUNDRED


@pytest.mark.parametrize("ended", ["expired", "async_payment_failed"])
def test_row_89_a_session_that_ended_unpaid_gives_nothing(
    sender: Sender, books: Shop, buyer: Buyer, ended: str
) -> None:
    assert sender.send(event(f"checkout.session.{ended}", buyer.paid())).status_code == 200
    assert books.balance(buyer.user_id) == 0
    [status] = books.row("SELECT status FROM stripe_checkouts WHERE session_id = %s", buyer.session_id)
    assert ended.endswith(status)


def test_row_90_metadata_names_nobody(sender: Sender, books: Shop, buyer: Buyer) -> None:
    thief, _ = books.make_user()
    forged_fields = {"metadata": {"user_id": thief, "credits": "1000000"}}
    sent = event(COMPLETED, buyer.paid(**forged_fields))
    assert sender.send(sent).status_code == 200
    assert (books.balance(thief), books.balance(buyer.user_id)) == (0, HUNDRED)


def test_row_90_a_session_of_another_customer_is_refused(sender: Sender, books: Shop, buyer: Buyer) -> None:
    thief = books.buyer(*books.make_user(), books.make_package())
    sent = event(COMPLETED, buyer.paid(customer=thief.customer_id))
    assert code(sender.send(sent)) == (422, "validation_failed")
    assert (books.balance(thief.user_id), books.balance(buyer.user_id)) == (0, 0)


def test_a_payment_pays_for_one_purchase(sender: Sender, books: Shop, buyer: Buyer) -> None:
    other = books.buyer(*books.make_user(), books.make_package())
    assert sender.send(event(COMPLETED, buyer.paid())).status_code == 200
    again = event(COMPLETED, other.paid(payment_intent=buyer.payment_id))
    assert code(sender.send(again)) == (422, "validation_failed")
    assert (books.balance(buyer.user_id), books.balance(other.user_id)) == (HUNDRED, 0)


def test_a_session_that_the_server_could_not_note_is_found_by_its_reference(
    sender: Sender, books: Shop, buyer: Buyer
) -> None:
    [reference] = books.row(
        "UPDATE stripe_checkouts SET session_id = NULL WHERE session_id = %s RETURNING id::text",
        buyer.session_id,
    )
    sent = event(COMPLETED, buyer.paid(client_reference_id=reference))
    assert sender.send(sent).status_code == 200
    assert books.balance(buyer.user_id) == HUNDRED


def test_an_unknown_session_is_kept_and_applied_when_it_is_known(
    sender: Sender, books: Shop, buyer: Buyer
) -> None:
    session_id = f"cs_{secrets.token_hex(6)}"
    sent = event(COMPLETED, buyer.paid(id=session_id))
    assert sender.send(sent).json()["outcome"] == "unmatched"
    assert books.balance(buyer.user_id) == 0
    books.database.execute(
        "UPDATE stripe_checkouts SET session_id = %s WHERE session_id = %s", [session_id, buyer.session_id]
    )
    assert sender.send(sent).json()["outcome"] == "applied"
    assert books.balance(buyer.user_id) == HUNDRED


@pytest.mark.parametrize("kind", ["radar.early_fraud_warning.created", "never.seen"])
def test_an_unknown_type_is_acknowledged_and_kept(sender: Sender, books: Shop, kind: str) -> None:
    sent = event(kind, {"anything": ["at", "all"]})
    assert sender.send(sent).json()["outcome"] == "kept"
    [payload] = books.row("SELECT payload FROM stripe_events WHERE event_id = %s", sent["id"])
    assert payload == sent


def test_an_event_that_cannot_be_read_is_kept(sender: Sender, books: Shop) -> None:
    sent = event(COMPLETED, {"id": 5})
    assert code(sender.send(sent)) == (422, "validation_failed")
    assert books.outcome(sent) == "refused"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{", (400, "malformed_json")),
        ("[" * 100_000, (400, "malformed_json")),
        ("[]", (422, "validation_failed")),
        ("{}", (422, "validation_failed")),
        ('{"id": "evt_1", "type": "a\\u0000b", "created": 1}', (422, "validation_failed")),
        (" " * 1_000_000, (413, "body_too_large")),
    ],
    ids=["cut off", "deep", "list", "empty", "nul", "a megabyte"],
)
def test_signed_nonsense_is_refused(sender: Sender, body: str, expected: tuple[int, str]) -> None:
    assert code(sender.send_raw(body, signature(body))) == expected


def test_an_organisation_with_closed_books_is_refused_and_the_event_kept(
    sender: Sender, books: Shop, organization: Any
) -> None:
    owner = organization.sessions["owner"]
    purchase = books.buyer("", owner, books.make_package(), org_id=organization.org_id)
    close = "UPDATE organizations SET status = %s WHERE id = %s"
    books.database.execute(close, ["deleted", organization.org_id])
    sent = event(COMPLETED, purchase.paid())
    assert code(sender.send(sent)) == (422, "validation_failed")
    assert books.outcome(sent) == "refused"
    books.database.execute(close, ["active", organization.org_id])
    assert sender.send(sent).json()["outcome"] == "applied"


def test_without_a_secret_no_event_is_believed(start_server: StartServer, shop: Running) -> None:
    without = start_server(stripe_secret_key="sk_test_x", stripe_api_base=shop.settings.stripe_api_base)
    answer = without.post("/api/stripe/webhook", {"id": "evt_1"}, headers={"Stripe-Signature": "t=1,v1=x"})
    assert code(answer) == (503, "payments_unavailable")
