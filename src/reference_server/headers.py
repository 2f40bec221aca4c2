"""What the headers of a request say.

The same is in `Request.headers`, as a mapping; but that every request looks for a dozen names, most of
which are not there, made it the largest part of what charges had in common.
"""

from starlette.types import Scope


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first value of a header; `name` is in lower case, as servers write it."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Return all values of a header; `name` is in lower case, as servers write it."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
