"""An application's service on books of the test's own, and sessions that pay."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from credit_sdk import Account, AsyncCreditDeductionService, CreditDeductionService
from credit_sdk.testing import FakeCredits


@dataclass(frozen=True)
class Shop:
    """An application whose users pay by their sessions: ada has 100 credits."""

    fake: FakeCredits
    billing: CreditDeductionService
    awaiting: AsyncCreditDeductionService
    ada: Account
    session: str

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"theme=dark; session_token={self.session}"}

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.session}"}


STALE = {"Cookie": "session_token=cst_of_yesterday"}


@pytest.fixture
def shop() -> Iterator[Shop]:
    with FakeCredits() as fake:
        ada = fake.member("ada", credits=100)
        billing, awaiting = fake.service(), fake.async_service()
        yield Shop(fake, billing, awaiting, ada, fake.ledger.open_session("ada"))
    fake.assert_books_agree()
