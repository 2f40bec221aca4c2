"""Example 4, cached intelligence: 2 credits for a hit, nothing for a miss.

python -m examples.loopnet.cached_intelligence
"""

from credit_sdk import Account
from examples.loopnet import catalogue
from examples.loopnet.billing import billing, customer


def lookup_cached_intelligence(company_id: str, account: Account) -> str | None:
    """Return what is known already, or None."""
    with billing.charge(account, service_type="intelligence_cache_lookup") as charge:
        charge.metadata["company_id"] = company_id
        found = catalogue.cached_intelligence(company_id)
        if found is None:
            charge.credits = 0
    return found


def main() -> None:
    """Look up a company that is in the cache, and one that is not."""
    account = customer()
    for company_id in ("c-1", "c-30"):
        found = lookup_cached_intelligence(company_id, account)
        print(f"{company_id}: {found or 'not in the cache, so it cost nothing'}")


if __name__ == "__main__":
    main()
