"""Makes real processes quickly: it has imported everything and forks a child for each that is wanted.

As a program it reads one JSON document a line: `{"client": workload}`, `{"crowd": crowd}`,
`{"server": settings}` or `{"ended": pid}`, and answers each by a line.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]


class Nursery:
    """The program, as the tests see it. Every process that it made ends with it."""

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._alive: set[int] = set()
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"CREDIT_SDK_OUTBOX": "off"},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in self._alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._program.communicate()

    def start(self, role: str, document: dict[str, Any]) -> int:
        """Return the process id of a new client, crowd or server."""
        pid: int = self._ask({role: document})
        self._alive.add(pid)
        return pid

    def has_ended(self, pid: int) -> int | None:
        """Return how a process has ended, as `subprocess` does; None while it lives."""
        status: int | None = self._ask({"ended": pid})
        if status is not None:
            self._alive.discard(pid)
        return status

    def _ask(self, question: dict[str, Any]) -> Any:
        with self._lock:
            assert self._program.stdin is not None
            assert self._program.stdout is not None
            self._program.stdin.write(json.dumps(question) + "\n")
            self._program.stdin.flush()
            return json.loads(self._program.stdout.readline())


def main() -> None:
    # Imported here, once for all children.
    from reference_server import serving  # noqa: PLC0415
    from tests.faults import crowd, workload  # noqa: PLC0415

    lives: dict[str, Callable[[Any], None]] = {
        "client": lambda document: workload.run(workload.Workload.of_json(document)),
        "crowd": crowd.run,
        "server": lambda settings: serving.serve(serving.Serving(Path("unused"), settings)),
    }

    for line in sys.stdin:
        [(what, document)] = json.loads(line).items()
        if what == "ended":
            pid, status = os.waitpid(document, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                _live(lives[what], document)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _live(life: Callable[[Any], None], document: Any) -> None:
    """Be a child, to the end."""
    status = 1
    try:
        # What the nursery reads and answers is not the child's.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        life(document)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the child's last words
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
