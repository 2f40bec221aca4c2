"""The whole contract, on each backend in each colour."""

from credit_sdk.contract.suite import *  # noqa: F403
