"""The contract of administering, on each backend in each colour."""

from credit_sdk.contract.administration import *  # noqa: F403
