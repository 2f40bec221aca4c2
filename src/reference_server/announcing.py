"""Saying that the server answers, once it does."""

import json
import os
import time
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

_POLL_SECONDS = 0.05
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound to, but found there


def base_url(address: tuple[Any, ...]) -> str:
    """Return where clients of this machine reach a listening socket."""
    host, port = _reachable(address)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announce(address: tuple[Any, ...], report: dict[str, Any], ready_file: Path | None) -> None:
    """Wait until the server is ready; write the report for programs and a line for people."""
    while not _is_ready(address):
        time.sleep(_POLL_SECONDS)
    if ready_file:
        _write_privately(ready_file, json.dumps(report, indent=2) + "\n")
    print(f"Credits are served at {report['base_url']} (stop with Ctrl+C).", flush=True)  # noqa: T201
    if "credentials" in report and not ready_file:
        print("--ready-file FILE writes the demonstration's credentials to a file.", flush=True)  # noqa: T201


def _reachable(address: tuple[Any, ...]) -> tuple[str, int]:
    host, port, *_ = address
    return _ANYWHERE.get(host, host), port


def _is_ready(address: tuple[Any, ...]) -> bool:
    with (
        suppress(OSError, HTTPException),
        closing(HTTPConnection(*_reachable(address), timeout=5)) as connection,
    ):
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    return False


def _write_privately(path: Path, text: str) -> None:
    """Write a file that holds secrets: readable by its owner only, and never half-written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
