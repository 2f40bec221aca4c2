"""Run every example on one fresh server, and verify the books afterwards.

python -m examples.demo
"""

import sys

import examples.loopnet.demo
import examples.whatnot_autoprint.demo
from examples.serving import run_credits, served
from examples.whatnot_autoprint.demo import stripe_pretended


def main() -> None:
    """Show all examples."""
    # Programs of their own print in between, also where the output goes into a file.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text stream, unless replaced
    print("Starting PostgreSQL and the reference server ...")
    with stripe_pretended() as settings, served(settings) as ready:
        examples.loopnet.demo.show(ready)
        examples.whatnot_autoprint.demo.show(ready, settings)
        print()
        run_credits("verify", "--url", ready["database_url"])
    print("\nStopped. Next: README.md, then examples/loopnet/company_enrichment.py.")


if __name__ == "__main__":
    main()
