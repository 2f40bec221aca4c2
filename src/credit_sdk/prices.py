"""What operations cost by default, as data (SPEC section 7). Amounts are credits."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType

from credit_sdk.amounts import Amount, parse_price
from credit_sdk.errors import ConfigurationError

LOOPNET_PRICES: Mapping[str, Decimal] = MappingProxyType(
    {
        "company_enrichment": Decimal(50),
        "company_enrichment:full": Decimal(100),
        "contact_lookup": Decimal(10),
        "bulk_export": Decimal(5),
        "intelligence_cache_lookup": Decimal(2),
        "valuation": Decimal(75),
        "market_analysis": Decimal(150),
    }
)
"""LoopNet's prices by service type; `bulk_export` is for each record, `:full` is the dearer variant."""


class PriceList(Mapping[str, Decimal]):
    """Prices by service type, in credits. `PriceList({**LOOPNET_PRICES, "property_search": 1})`."""

    def __init__(self, prices: Mapping[str, Amount] = LOOPNET_PRICES) -> None:
        if not isinstance(prices, Mapping):
            raise ConfigurationError(
                f"prices must map service types to credits, which {type(prices).__name__} does not."
            )
        self._prices = {
            service_type: parse_price(price, argument=f"the price of {service_type}")
            for service_type, price in prices.items()
        }

    def __getitem__(self, service_type: str) -> Decimal:
        """Return the price; raise `ConfigurationError` when the application has set none."""
        try:
            return self._prices[service_type]
        except KeyError:
            known = ", ".join(sorted(self._prices)) or "none"
            raise ConfigurationError(
                f"No price is set for {service_type!r}: give the cost, or prices={{...}} (known: {known})."
            ) from None

    def __contains__(self, service_type: object) -> bool:
        return service_type in self._prices

    def __iter__(self) -> Iterator[str]:
        return iter(self._prices)

    def __len__(self) -> int:
        return len(self._prices)
