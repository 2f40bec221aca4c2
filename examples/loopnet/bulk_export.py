"""Example 3, bulk export: 5 credits a record; 200 are held meanwhile, what was delivered is taken.

python -m examples.loopnet.bulk_export
"""

from collections.abc import Iterator
from typing import Any

from credit_sdk import LOOPNET_PRICES, Account, InsufficientCreditsError
from examples.loopnet import catalogue
from examples.loopnet.billing import billing, customer

PRICE = LOOPNET_PRICES["bulk_export"]


@billing.billable("bulk_export", cost=lambda delivered: PRICE * delivered, estimate=200)
def bulk_export_companies(town: str | None, account: Account) -> Iterator[dict[str, Any]]:
    """Yield the companies of a town; a consumer that stops early pays nothing."""
    yield from catalogue.export(town)


@billing.billable("bulk_export", cost=lambda records: PRICE * len(records), estimate=100_000)
def export_everything(account: Account) -> list[dict[str, Any]]:
    """Return the whole catalogue: more than the account can set aside."""
    return list(catalogue.export())


def main() -> None:
    """Export one town, and try to export far too much."""
    account = customer()
    names = [company["name"] for company in bulk_export_companies("Austin", account)]
    print(f"{len(names)} companies, {names[0]} first")
    try:
        export_everything(account)
    except InsufficientCreditsError as error:
        print(f"refused before it began: {error}")


if __name__ == "__main__":
    main()
