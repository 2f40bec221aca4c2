"""Users' own credits, on each backend in each colour."""

from credit_sdk.contract.users import *  # noqa: F403
