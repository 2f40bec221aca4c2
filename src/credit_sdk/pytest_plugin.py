"""The pytest plugin: the fixture `fake_credits`. Loaded by pytest itself where this package is installed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from credit_sdk.testing import FakeCredits


@pytest.fixture
def fake_credits() -> "Iterator[FakeCredits]":
    """Books of the test's own, in memory. A planned fault that never happened fails the test."""
    from credit_sdk.testing import FakeCredits  # noqa: PLC0415 - most tests need none

    with FakeCredits() as fake:
        yield fake
    if unstruck := fake.faults.unstruck():
        pytest.fail(f"Faults were planned that never happened, at: {', '.join(unstruck)}.", pytrace=False)
    fake.assert_books_agree()
