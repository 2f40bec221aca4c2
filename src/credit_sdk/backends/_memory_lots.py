"""Credits that expire: not here."""

from credit_sdk.errors import ConfigurationError
from credit_sdk.operations import AddCredits, GrantCredits


def refuse_lots(operation: AddCredits | GrantCredits) -> None:
    """Refuse credits that are to expire: books in memory would keep them for ever."""
    if (operation.expires_at, operation.expires_in_days, operation.priority) != (None, None, None):
        raise ConfigurationError("A ledger in memory has no credits that expire: ask a database.")
