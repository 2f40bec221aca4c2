"""Run every LoopNet example on a fresh server, through direct SQL and over HTTP, and show the balance.

python -m examples.loopnet.demo
"""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx

from credit_sdk import CreditDeductionService
from credit_sdk.amounts import format_credits
from examples.serving import served

CUSTOMER = "loopnet-test-1@example.com"
ORGANISATION = "test-loopnet"
EXAMPLES = {
    "Simple check": "simple_check",
    "Company enrichment": "company_enrichment",
    "Bulk export": "bulk_export",
    "Cached intelligence": "cached_intelligence",
}


def main() -> None:
    """Show LoopNet's operations and what they did to the credits."""
    # Programs of their own print in between, also where the output goes into a file.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text stream, unless replaced
    with served() as ready:
        show(ready)


def show(ready: dict[str, Any]) -> None:
    """Run LoopNet's operations on a server that wrote this ready file."""
    print(f"The books: organisation {ORGANISATION}, 10,000 credits; {CUSTOMER} may spend 1,000.")
    user = ready["credentials"]["user_ids"][CUSTOMER]
    key = ready["credentials"]["service_api_key"]
    ways = {"direct SQL": ready["database_url"], "HTTP": ready["base_url"]}
    for way, address in ways.items():
        print(f"\n== Through {way} ==")
        environment = {"CREDIT_SDK_URL": address, "CREDIT_SDK_API_KEY": key, "LOOPNET_USER": user}
        run_examples(environment)
    print("\n== A web application, paid by the session of its user ==")
    run_application(ready)
    print("\n== The books ==")
    show_usage(ready)


def run_examples(environment: dict[str, str]) -> None:
    """Run each example as a program of its own and show the balance around it."""
    with CreditDeductionService(
        environment["CREDIT_SDK_URL"], api_key=environment["CREDIT_SDK_API_KEY"]
    ) as billing:
        for title, module in EXAMPLES.items():
            before = balance(billing, environment["LOOPNET_USER"])
            print(f"\n{title} (balance {before})")
            program = [sys.executable, "-m", f"examples.loopnet.{module}"]
            output = subprocess.run(
                program, env=os.environ | environment, check=True, capture_output=True, text=True
            ).stdout
            print("".join(f"  {line}\n" for line in output.splitlines()), end="")
            print(f"  balance {before} -> {balance(billing, environment['LOOPNET_USER'])}")


def run_application(ready: dict[str, Any]) -> None:
    """Serve `app.py` and call its endpoint as a user: with success, a failure, and no session."""
    session = {"Cookie": f"session_token={ready['credentials']['sessions'][CUSTOMER]}"}
    with application(ready["base_url"]) as base_url, httpx.Client(base_url=base_url) as browser:
        for company, headers in (("c-7", session), ("c-404", session), ("c-7", {})):
            answer = browser.post(f"/loopnet/company/{company}/enrich", headers=headers)
            who = "the user" if headers else "nobody"
            print(f"  {who} enriches {company}: {answer.status_code} {answer.text[:100]}")


@contextmanager
def application(books: str) -> Generator[str]:
    """Run the example application in a process of its own; yield its address."""
    program = [sys.executable, "-m", "uvicorn", "examples.loopnet.app:app", "--port", "0", "--no-access-log"]
    # The application has no key of its own here: each user's session pays.
    environment = {name: value for name, value in os.environ.items() if name != "CREDIT_SDK_API_KEY"}
    server = subprocess.Popen(
        program, env=environment | {"CREDIT_SDK_URL": books}, stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None  # noqa: S101 - a pipe was asked for
    try:
        line = next(line for line in server.stderr if "running on" in line)
        yield next(word for word in line.split() if word.startswith("http://"))
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate()


def show_usage(ready: dict[str, Any]) -> None:
    """Print what the organisation used, by service."""
    with CreditDeductionService(ready["database_url"]) as billing:
        usage = billing.usage(ORGANISATION)
    rows = [(each.service_type, each.charges, each.credits_used) for each in usage.by_service]
    for service, charges, used in [*rows, ("in all", usage.total_charges, usage.total_credits_used)]:
        print(f"  {service:<28}{charges:>4} charges {format_credits(used):>8} credits")


def balance(billing: CreditDeductionService, user_id: str) -> str:
    """Return what the customer has left."""
    organization = billing.account(user_id).organization
    return format_credits(organization.remaining_credits) if organization else "nothing"


if __name__ == "__main__":
    main()
