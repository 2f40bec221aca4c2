"""The service of the integration guide on the SDK: log in, print, pay.

The environment decides: `API_BASE_URL`, `APP_ID` and `API_KEY` say where users log in and which application
this is, `DATABASE_URL` where their credits are.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from credit_sdk import CreditSDK, CrossApp
from examples.whatnot_autoprint.labels import Order, render

PRICE = 5


class WhatnotAutoprintService:
    """Prints labels for the user who has logged in."""

    def __init__(self, folder: Path) -> None:
        self.credit_sdk = CreditSDK(os.environ["DATABASE_URL"])
        self.session = CrossApp()
        self.folder = folder
        self.user_id: int | None = None

    def authenticate(self, email: str, password: str) -> None:
        """Log a user in; raises `InvalidTokenError` for a wrong email or password."""
        session = self.session.login(email, password, metadata={"app_name": "Whatnot Autoprint"})
        self.user_id = session.user.user_id

    def process_autoprint_job(self, order: Order, credits_required: int = PRICE) -> Path:
        """Print an order's label, charge for it and return the file.

        A label that cannot be printed raises `LabelError` and costs nothing; without enough credits nothing
        is printed, and `InsufficientCreditsError` is raised. Printing an order again is not charged again.
        """
        user_id = self._logged_in()
        job_id = f"label-{order.number}"
        with self.credit_sdk.charge(
            user_id,
            credits_required,
            f"Whatnot Autoprint Job - {job_id}",
            service_type="autoprint",
            request_id=job_id,
        ) as charge:
            label = self.folder / f"{job_id}.pdf"
            size = label.write_bytes(render(order))
            charge.metadata |= {"job_id": job_id, "page_count": 1, "bytes": size}
        return label

    def get_credit_balance(self) -> str:
        """Return what the user has left, for people."""
        return f"{self.credit_sdk.get_balance(self._logged_in()):,f}"

    def purchase_credits(self, package_id: str, return_url: str) -> str:
        """Begin a purchase and return the address where the user pays."""
        return self.session.purchase(return_url, package_id=package_id).checkout_url

    def close(self) -> None:
        """Log the user out and close the connections."""
        if self.user_id is not None:
            self.session.logout()
        self.session.close()
        self.credit_sdk.close()

    def _logged_in(self) -> int:
        if self.user_id is None:
            raise RuntimeError("Nobody has logged in: call authenticate() first.")
        return self.user_id

    def __enter__(self) -> Self:
        """Return the service itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Log out and close."""
        self.close()
