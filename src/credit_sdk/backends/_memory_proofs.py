"""Why memory proves nothing: what ends with the process has no history that somebody could rewrite."""

from typing import NoReturn

from credit_sdk.errors import ProofsUnsupportedError
from credit_sdk.operations import GetProof, ListChain, Seal, VerifyChain


class NoProofs:
    """The operations of the chain, each refused."""

    def seal(self, operation: Seal) -> NoReturn:
        """Refuse."""
        raise ProofsUnsupportedError(_reason(operation))

    def verify_chain(self, operation: VerifyChain) -> NoReturn:
        """Refuse."""
        raise ProofsUnsupportedError(_reason(operation))

    def list_chain(self, operation: ListChain) -> NoReturn:
        """Refuse."""
        raise ProofsUnsupportedError(_reason(operation))

    def get_proof(self, operation: GetProof) -> NoReturn:
        """Refuse."""
        raise ProofsUnsupportedError(_reason(operation))


def _reason(operation: Seal | VerifyChain | ListChain | GetProof) -> str:
    return f"{type(operation).__name__} needs PostgreSQL: the ledger in memory keeps no chain of digests."
