"""P10: what `import credit_sdk` loads."""

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.measuring import Figure, counter
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting

HEAVY = "import httpx, pydantic, sqlalchemy, tenacity, psycopg"
COUNT = "import sys; {statement}; print(len(sys.modules))"


def modules_after(statement: str) -> int:
    """Return how many modules a new process has loaded after a statement."""
    return int(_python(COUNT.format(statement=statement)))


def run(_: Setting, _rounds: int) -> Iterator[Figure]:
    """Yield the number of modules."""
    heavy = f"{modules_after(HEAVY)} after {HEAVY.lower()}"
    yield counter("modules after import credit_sdk", modules_after("import credit_sdk"), 95, heavy)


def _python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


BENCHMARK = Benchmark(
    compares="what `import credit_sdk` loads, beside the libraries that it uses",
    target="95 modules, 0.15 of the time of the libraries",
    run=run,
)
