"""Example 2, company enrichment: 50 credits, or 100 for the full record; a failure costs nothing.

python -m examples.loopnet.company_enrichment
"""

import asyncio
from typing import Any

from credit_sdk import LOOPNET_PRICES, Account, current_charge
from credit_sdk.amounts import format_credits
from examples.loopnet import catalogue
from examples.loopnet.billing import billing, customer

FULL_PRICE = LOOPNET_PRICES["company_enrichment:full"]


@billing.billable(
    "company_enrichment",
    service_name="LoopNet Company Enrichment v2",
    estimate=lambda full: FULL_PRICE if full else LOOPNET_PRICES["company_enrichment"],
    metadata=lambda company_id: {"company_id": company_id},
)
async def enrich_company_with_credits(
    company_id: str, *, account: Account, full: bool = False
) -> dict[str, Any]:
    """Return the company's record; the account pays if there is one."""
    company = await asyncio.to_thread(catalogue.enrich, company_id, full=full)
    if full:
        current_charge().credits = FULL_PRICE
    return company


async def main() -> None:
    """Enrich one company, one in full, and one that the provider does not know."""
    account = await asyncio.to_thread(customer)
    for company_id, full in (("c-1", False), ("c-2", True), ("c-404", False)):
        try:
            company = await enrich_company_with_credits(company_id, account=account, full=full)
        except catalogue.UpstreamError as error:
            print(f"{company_id} failed and cost nothing: {error}")
        else:
            print(f"{company_id} {company['name']}, revenue {format_credits(company['revenue'])} USD")
    await billing.aclose()


if __name__ == "__main__":
    asyncio.run(main())
