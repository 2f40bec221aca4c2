"""The `credits` command."""

from credit_sdk.cli._app import main

__all__ = ["main"]
