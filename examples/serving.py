"""A server of the demonstration's own, on an embedded PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS = 120
CREDITS = [str(Path(sys.executable).with_name("credits"))]


@contextmanager
def served(settings: Mapping[str, str] | None = None) -> Generator[dict[str, Any]]:
    """Run `credits serve --demo`, set up by variables; yield its ready file."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "ready.json")
        command = [*CREDITS, "serve", "--demo", "--port", "0", "--ready-file", str(ready)]
        environment = os.environ | {"CREDITS_DATA_DIR": str(Path(folder, "data"))} | dict(settings or {})
        environment.pop("DATABASE_URL", None)
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            wait_for(ready, server)
            yield json.loads(ready.read_text())
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def run_credits(*arguments: str) -> None:
    """Run the command line."""
    subprocess.run([*CREDITS, *arguments], check=True)


def wait_for(ready: Path, server: "subprocess.Popen[bytes]") -> None:
    """Wait until the server answers; the ready file appears then."""
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists():
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit("The server did not start; its message is above.")
        time.sleep(0.05)
