"""The `credits` command."""

import sys


def main() -> None:
    """Run the command line; without the extra that it needs, say which."""
    try:
        from credit_sdk.cli import _app  # noqa: PLC0415 - typer comes with an extra
    except ImportError as error:
        print(
            f"credits: this command needs an extra: pip install 'credit-sdk[cli]' ({error})", file=sys.stderr
        )
        sys.exit(1)
    _app.main()


__all__ = ["main"]
