"""The one place where LoopNet says where the books are and who pays.

The environment decides: `CREDIT_SDK_URL` is a server or a database, `CREDIT_SDK_API_KEY` the key for a
server, `LOOPNET_USER` the user who is at the screen.
"""

import os

from credit_sdk import Account, CreditDeductionService

billing = CreditDeductionService()


def customer() -> Account:
    """Return the account that pays: the user's default organisation."""
    return billing.account(os.environ["LOOPNET_USER"])
