"""Moves an organisation and stops for ever at a point, which it says: for whoever ends it there.

    stopping_mover.py POINT HOME_URL TARGET_URL

Points are the steps of a move, and two within the copy: `exported`, when nothing is written yet, and
`imported`, when all is written in a transaction that has not ended.
"""

from __future__ import annotations

import sys
from typing import Any

from reference_server.cells import moving


def main() -> None:
    """Move `acme` from home to `b`."""
    point, home, target = sys.argv[1:]

    def reached(now: str) -> None:
        if now == point:
            sys.stdout.write(f"{now}\n")
            sys.stdout.flush()
            sys.stdin.read()

    whole = moving.import_organization

    def stopping(connection: Any, lines: Any) -> Any:
        reached("exported")
        done = whole(connection, lines)
        reached("imported")
        return done

    moving.import_organization = stopping
    moving.move_organization({"home": home, "b": target}, "acme", "b", reached=reached)


if __name__ == "__main__":
    main()
