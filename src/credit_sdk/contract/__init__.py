"""What every ledger has to do, as tests: any backend, and any server, can prove itself.

Give pytest a fixture `ledger` that returns a `Harness`, and import the suite where pytest looks:

    # tests/test_contract.py
    from credit_sdk.contract.suite import *
    from credit_sdk.contract.users import *
    from credit_sdk.contract.administration import *

The suite tests what one caller sees after another; what happens at the same time is for each
backend's own tests.
"""

import pytest

_MODULES = (
    *("batching", "billing", "capping", "capping_holds", "capturing", "deducting", "harness", "holding"),
    *("pooling", "reading", "refunding"),
)
_OF_USERS = ("balances", "crediting")
_OF_ADMINISTRATION = ("due", "organizing", "screens", "subscribing")
pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in (*_MODULES, *_OF_USERS, *_OF_ADMINISTRATION))
)

from credit_sdk.contract.harness import Administrator, Harness, Payer  # noqa: E402
from credit_sdk.contract.portal import blocking, blocking_client, blocking_sdk  # noqa: E402 - pytest has to know first

__all__ = ["Administrator", "Harness", "Payer", "blocking", "blocking_client", "blocking_sdk"]
