"""Speaking to Stripe, through its own library. What it refuses or does not answer is one error of ours."""

import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from credit_sdk.errors import PaymentsUnavailableError

if TYPE_CHECKING:
    from stripe import HTTPXClient, PaymentIntent, Price, StripeClient
    from stripe.checkout import Session

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 20
RETRIES = 2
CLOCKS_APART_SECONDS = 300
"""By how much the database's clock may be ahead of Stripe's."""
_TOP_UP = "top_up"
T = TypeVar("T")


class PaymentRefusedError(Exception):
    """A card was refused or is unknown, or its owner has to be asked; `reason` is Stripe's code for it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class StripeApi:
    """An account of Stripe. Every call carries a key under which repeating it does nothing new."""

    secret_key: str
    api_base: str | None = None
    _client: "StripeClient | None" = None
    _http: "HTTPXClient | None" = None

    async def make_customer(self, key: str, *, name: str | None, email: str | None) -> str:
        """Make a customer and return the id."""
        params: Any = {"name": name, "email": email, "metadata": {"buyer": key}}
        known = {field: value for field, value in params.items() if value}
        call = self._connected().v1.customers.create_async(known, {"idempotency_key": f"customer-{key}"})  # type: ignore[arg-type]  # built field by field
        return (await _answered(call)).id

    async def open_session(self, key: str, **params: Any) -> "Session":
        """Open a checkout session and return it."""
        call = self._connected().v1.checkout.sessions.create_async(
            params,  # type: ignore[arg-type]  # built field by field
            {"idempotency_key": f"checkout-{key}"},
        )
        return await _answered(call)

    async def make_price(self, package: dict[str, Any]) -> "Price":
        """Make the product and the price of a package and return the price."""
        params: Any = {
            "currency": package["currency"],
            "unit_amount": package["price_cents"],
            "product_data": {"name": package["name"]},
            "metadata": {"package_id": package["id"]},
        }
        if package["renews_every"]:
            params["recurring"] = {"interval": package["renews_every"]}
        key = f"price-{package['id']}-{package['price_cents']}-{package['currency']}"
        return await _answered(self._connected().v1.prices.create_async(params, {"idempotency_key": key}))

    async def charge_saved(self, key: str, **params: Any) -> str:
        """Charge a payment method that is kept, while its owner is away, and return the payment's id.

        Raises `PaymentRefusedError` if the card is refused or unknown, or its owner has to be asked.
        """
        wanted = params | {"off_session": True, "confirm": True, "metadata": {_TOP_UP: key}}
        call = self._connected().v1.payment_intents.create_async(
            wanted,  # type: ignore[arg-type]  # built field by field
            {"idempotency_key": f"top-up-{key}"},
        )
        return _paid_by(await _answered_or_refused(call))

    async def find_charge(self, key: str, *, customer: str, since: int) -> str | None:
        """Return the id of the payment that was asked for under the key, or None if there is none.

        A day later Stripe forgets under which keys it was asked; what it was told of a payment stays.
        Raises `PaymentRefusedError` if the payment has failed, or Stripe knows no such customer.
        """
        params: Any = {"customer": customer, "created": {"gte": since - CLOCKS_APART_SECONDS}, "limit": 100}
        page = await _answered_or_refused(self._connected().v1.payment_intents.list_async(params))
        while True:
            for intent in page.data:
                if intent.metadata.to_dict().get(_TOP_UP) == key:
                    return _paid_by(intent)
            if not page.has_more:
                return None
            page = await _answered(page.next_page_async())

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close_async()  # type: ignore[no-untyped-call]  # of the library

    def _connected(self) -> "StripeClient":
        if self._client is None:
            import stripe  # noqa: PLC0415 - a server without payments does not wait for it

            self._http = stripe.HTTPXClient(timeout=TIMEOUT_SECONDS)
            self._client = stripe.StripeClient(
                self.secret_key,
                base_addresses={"api": self.api_base} if self.api_base else {},
                max_network_retries=RETRIES,
                http_client=self._http,
            )
        return self._client


def _paid_by(intent: "PaymentIntent") -> str:
    if intent.status not in {"succeeded", "processing"}:
        error = intent.last_payment_error
        raise PaymentRefusedError((error and error.code) or "authentication_required")
    return intent.id


async def _answered_or_refused(call: Awaitable[T]) -> T:
    """Take it for a refusal, too, that a card or a customer is gone: asking again would change nothing.

    Not so for other wrong requests: they are ours, or of the seller's own account, and no customer's.
    """
    import stripe  # noqa: PLC0415

    async def answer() -> T:
        try:
            return await call
        except stripe.InvalidRequestError as error:
            if error.code != "resource_missing":
                raise
            raise PaymentRefusedError(error.code) from None

    return await _answered(answer())


async def _answered(call: Awaitable[T]) -> T:
    import stripe  # noqa: PLC0415

    try:
        return await call
    except stripe.CardError as error:
        raise PaymentRefusedError(error.code or "card_declined") from None
    except stripe.StripeError as error:
        # Its text may quote a key or an address of a customer.
        logger.warning("Stripe refused or did not answer: %s %s", type(error).__name__, error.code)
        raise PaymentsUnavailableError from None
