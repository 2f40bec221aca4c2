"""P10: what `import credit_sdk` loads."""

import resource
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.measuring import Figure, Side, counter, in_turn, ratio
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting

HEAVY = "import httpx, pydantic, sqlalchemy, tenacity, psycopg"
STATEMENTS = {"nothing": "pass", "ours": "import credit_sdk", "heavy": HEAVY}
COUNT = "import sys; {statement}; print(len(sys.modules))"


def modules_after(statement: str) -> int:
    """Return how many modules a new process has loaded after a statement."""
    return int(_python(COUNT.format(statement=statement)))


def run(_: Setting, rounds: int) -> Iterator[Figure]:
    """Yield the number of modules, and the processor time beside that of the libraries."""
    sides = {name: _spent_after(statement) for name, statement in STATEMENTS.items()}
    spent = in_turn(sides, rounds)
    ours, theirs = (
        [own - bare for own, bare in zip(spent[name], spent["nothing"], strict=True)]
        for name in ("ours", "heavy")
    )
    note = f"{min(ours):.0f} against {min(theirs):.0f} ms at best, without the start of Python"
    yield ratio("import credit_sdk / its libraries", ours, theirs, target=0.15, note=note)
    heavy = f"{modules_after(HEAVY)} after {HEAVY.lower()}"
    yield counter("modules after import credit_sdk", modules_after("import credit_sdk"), 95, heavy)


def _spent_after(statement: str) -> Side:
    """Return a side: the milliseconds of the processor that a new process takes for a statement."""

    def measure() -> float:
        before = _spent_by_children()
        _python(statement)
        return (_spent_by_children() - before) * 1_000

    return measure


def _spent_by_children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


BENCHMARK = Benchmark(
    compares="what `import credit_sdk` loads, beside the libraries that it uses",
    target="95 modules, 0.15 of the time of the libraries",
    run=run,
)
