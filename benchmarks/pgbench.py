"""`pgbench`, which comes with PostgreSQL's programs: many clients that repeat one statement."""

import re
import subprocess
import tempfile

from reference_server.embedded import find_binaries

_RATE = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)


def transactions_per_second(url: str, script: str, *, clients: int, transactions: int) -> float:
    """Run a script that many times in each client, prepared; raise `RuntimeError` if any failed."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        answer = subprocess.run(
            [
                str(find_binaries() / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--client={clients}",
                "--jobs=1", f"--transactions={transactions}", f"--file={file.name}", url,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    rate, failed = _RATE.search(answer.stdout), _FAILED.search(answer.stdout)
    if answer.returncode or not rate or (failed and int(failed[1])):
        raise RuntimeError(answer.stderr[-2_000:] or answer.stdout)
    return float(rate[1])
