"""LiteLLM's own proxy, as a process beside the gateway, in an environment of its own.

LITELLM="uvx --from 'litellm[proxy]' litellm" python -m benchmarks gateway
"""

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

COMMAND_VARIABLE = "LITELLM"
SECONDS_TO_START = 120
_BETWEEN_QUESTIONS = 0.5
CONFIGURATION = """
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: "{upstream}", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""


@contextmanager
def litellm_proxy(upstream: str) -> Iterator[str | None]:
    """Run the proxy before an upstream, without books or keys; give its base URL, None if it is not named."""
    command = shlex.split(os.environ.get(COMMAND_VARIABLE, ""))
    if not command:
        yield None
        return
    with TemporaryDirectory() as folder:
        configuration = Path(folder, "litellm.yaml")
        configuration.write_text(CONFIGURATION.format(upstream=upstream))
        port = _free_port()
        proxy = subprocess.Popen(
            [*command, "--config", str(configuration), "--host", "127.0.0.1", "--port", str(port)],
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/health/liveliness", proxy)
            yield f"http://127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(proxy.pid, signal.SIGTERM)
            proxy.wait()


def _environment() -> dict[str, str]:
    # Its modules are not ours, and it must not take our database for its own.
    ours = {"DATABASE_URL", "PYTHONPATH", "VIRTUAL_ENV"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {
        "LITELLM_LOG": "ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_for(address: str, proxy: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + SECONDS_TO_START
    while proxy.poll() is None and time.monotonic() < ends:
        with suppress(httpx.TransportError):
            if httpx.get(address).is_success:
                return
        # Nothing tells when it has started: it is asked again.
        time.sleep(_BETWEEN_QUESTIONS)
    raise RuntimeError(f"The proxy that {COMMAND_VARIABLE} names did not start.")
