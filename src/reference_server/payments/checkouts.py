"""Opening checkouts: for whom, of what, and where the buyer comes back to."""

from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from credit_sdk.errors import FieldError, NotFoundError, PaymentsUnavailableError, ValidationFailedError
from reference_server.payments.books import Books
from reference_server.payments.packages import Package
from reference_server.payments.stripe_api import StripeApi

LONGEST_URL = 2_048


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout that was opened, and where the buyer pays."""

    session_id: str
    url: str


@dataclass(frozen=True, slots=True)
class Seller:
    """Sells packages.

    Where nothing is sold `stripe` is None, and everything raises `PaymentsUnavailableError`.
    """

    books: Books
    stripe: StripeApi | None

    async def packages(self) -> list[Package]:
        """Return what is for sale now, cheapest first."""
        self._require_stripe()
        return await self.books.packages()

    async def subscriptions(self, user_id: str | None, org_id: str | None) -> list[dict[str, Any]]:
        """Return the subscriptions of a user, or of an organisation."""
        self._require_stripe()
        return await self.books.subscriptions(user_id, org_id)

    async def find_package(
        self,
        *,
        price_id: str | None = None,
        package_id: str | None = None,
        credits: Decimal | None = None,
    ) -> Package:
        """Return the package of a price or an id, or the cheapest single one with so many credits.

        Raises `NotFoundError` for what is not for sale.
        """
        wanted = [
            package
            for package in await self.packages()
            if price_id in {None, package.price_id}
            and package_id in {None, package.id}
            and (credits is None or (package.credits >= credits and package.mode == "payment"))
        ]
        if not wanted:
            raise NotFoundError(f"{_what(price_id, package_id, credits)} is not for sale here.")
        return wanted[0]

    async def purchase(
        self,
        user_id: str,
        *,
        return_url: str,
        package_id: str | None = None,
        credits: Decimal | None = None,
    ) -> Checkout:
        """Open a checkout for a user who names a package, or how many credits it must have at least.

        Raises what `find_package` and `checkout` raise.
        """
        package = await self.find_package(package_id=package_id, credits=credits)
        require_address("return_url", return_url)
        return await self.checkout(package, user_id=user_id, success_url=return_url, cancel_url=return_url)

    async def checkout(
        self,
        package: Package,
        *,
        user_id: str | None,
        org_id: str | None = None,
        success_url: str,
        cancel_url: str,
    ) -> Checkout:
        """Open a checkout of a package for a user, or for an organisation when one is named.

        Raises `NotFoundError` for a buyer whom nobody knows, `ValidationFailedError` for an address that
        is none, `PaymentsUnavailableError`.
        """
        stripe = self._require_stripe()
        require_address("success_url", success_url)
        require_address("cancel_url", cancel_url)
        customer_id = await self._customer_of(await self.books.find_buyer(user_id, org_id), stripe)
        checkout_id = await self.books.open_checkout(customer_id, package.id)
        session = await stripe.open_session(
            str(checkout_id),
            mode=package.mode,
            customer=customer_id,
            client_reference_id=str(checkout_id),
            line_items=[{"price": package.price_id, "quantity": 1}],
            success_url=success_url,
            cancel_url=cancel_url,
        )
        if not session.url:
            raise PaymentsUnavailableError
        await self.books.note_session(checkout_id, session.id)
        return Checkout(session.id, session.url)

    async def _customer_of(self, buyer: dict[str, Any], stripe: StripeApi) -> str:
        if buyer["customer_id"]:
            known: str = buyer["customer_id"]
            return known
        # Whoever asks at the same time sends the same; a changed address is a new question.
        said = sha256(f"{buyer['name']}\n{buyer['email']}".encode()).hexdigest()[:16]
        made = await stripe.make_customer(f"{buyer['key']}-{said}", name=buyer["name"], email=buyer["email"])
        return await self.books.keep_customer(made, buyer)

    def _require_stripe(self) -> StripeApi:
        if self.stripe is None:
            raise PaymentsUnavailableError
        return self.stripe


def require_address(field: str, url: str) -> None:
    """Raise `ValidationFailedError` for what is no http(s) address."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and len(url) <= LONGEST_URL
    except ValueError:
        valid = False
    if not valid or not url.isprintable() or " " in url:
        message = f"{field} must be an http(s) address of at most {LONGEST_URL} characters."
        raise ValidationFailedError(
            message, errors=[FieldError(loc=[field], msg="Input should be an http(s) address", type="url")]
        )


def _what(price_id: str | None, package_id: str | None, credits: Decimal | None) -> str:
    if price_id is not None:
        return f"The price {price_id}"
    return f"The package {package_id}" if package_id is not None else f"A package of {credits} credits"
