"""Run every example on one fresh server, and verify the books afterwards.

python -m examples.demo
"""

import sys

import examples.loopnet.demo
from examples.serving import run_credits, served


def main() -> None:
    """Show all examples."""
    # Programs of their own print in between, also where the output goes into a file.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text stream, unless replaced
    print("Starting PostgreSQL and the reference server ...")
    with served() as ready:
        examples.loopnet.demo.show(ready)
        print()
        run_credits("verify", "--url", ready["database_url"])
    print("\nStopped. Next: README.md, then examples/loopnet/company_enrichment.py.")


if __name__ == "__main__":
    main()
