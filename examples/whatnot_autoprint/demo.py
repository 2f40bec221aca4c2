"""Run the print service as a program of its own, with a pretended Stripe behind the server."""

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from examples.serving import CREDITS

PRETENDED_STRIPE = Path(__file__).parents[2] / "tests" / "peers" / "fake_stripe.py"


@contextmanager
def stripe_pretended() -> Generator[dict[str, str]]:
    """Run a process that answers as Stripe does; yield what a server has to know to sell through it."""
    program = [sys.executable, str(PRETENDED_STRIPE)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        yield {
            "STRIPE_API_BASE": process.stdout.readline().strip(),
            "STRIPE_SECRET_KEY": "sk_test_of_the_fake",
            "STRIPE_WEBHOOK_SECRET": "whsec_of_the_demonstration",
        }
        process.communicate()  # it ends with its standard input


def show(ready: Mapping[str, Any], stripe: Mapping[str, str]) -> None:
    """Print labels for the guide's user on a server that wrote this ready file and sells through Stripe."""
    app = ready["credentials"]["apps"]["whatnot-autoprint"]
    environment = {
        "DATABASE_URL": ready["database_url"],
        "API_BASE_URL": ready["base_url"],
        "APP_ID": app["app_id"],
        "API_KEY": app["api_key"],
    }
    sync = [*CREDITS, "packages", "sync", "--database-url", ready["database_url"]]
    subprocess.run(sync, env=os.environ | dict(stripe), check=True, stdout=subprocess.DEVNULL)
    print("\n== Whatnot Autoprint: labels, paid by a user's own credits ==")
    program = [sys.executable, "-m", "examples.whatnot_autoprint.main"]
    output = subprocess.run(
        program, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    print("".join(f"  {line}\n" for line in output.splitlines()), end="")
