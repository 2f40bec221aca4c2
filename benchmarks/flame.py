"""Flame graphs of a charge: where the processor time of the client goes, and that of a busy server.

python -m benchmarks.flame writes docs/charge-by-sql.svg, charge-over-http.svg, charge-in-the-server.svg
"""

import multiprocessing
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from types import FrameType

from benchmarks.gathered import load
from benchmarks.setting import Setting, served
from reference_server.app import create_app
from reference_server.serving import DrainingServer, server_config
from reference_server.settings import Settings

DOCS = Path(__file__).parents[1] / "docs"
SECONDS_BETWEEN = 0.001
CHARGES = 10_000
CONNECTIONS = 256
WIDTH, HEIGHT = 1_200, 17
LEAST = 0.004
"""What takes less of the whole is left out."""
Stack = tuple[str, ...]


def main() -> None:
    """Write the graphs."""
    with served() as setting:
        for name, address in (("sql", setting.database_url), ("http", setting.base_url)):
            way = "by" if name == "sql" else "over"
            path = DOCS / f"charge-{way}-{name}.svg"
            path.write_text(drawn(_sampled(setting, address), f"A charge {way} {name.upper()}"))
        path = DOCS / "charge-in-the-server.svg"
        path.write_text(drawn(_sampled_server(setting), f"A server with {CONNECTIONS} connections"))


def _sampled(setting: Setting, address: str) -> Counter[Stack]:
    with setting.billing(address) as billing:
        return sampled(lambda: billing.deduct(setting.account, 1, service_type="bench"), CHARGES)


def _sampled_server(setting: Setting) -> Counter[Stack]:
    """Serve the same books in this process, while another one charges over many connections."""
    settings = Settings(database_url=setting.database_url, allow_superuser=True)
    app = create_app(settings)
    server = DrainingServer(server_config(settings, app), app.state.traffic)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served_here = replace(setting, base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        client = multiprocessing.get_context("spawn").Process(
            target=load, args=(served_here, CONNECTIONS, CHARGES)
        )

        def end_with_the_client() -> None:
            client.join()
            server.should_exit = True

        client.start()
        threading.Thread(target=end_with_the_client).start()
        return sampled(lambda: server.run(sockets=[listener]), 1, warm_up=False)


def sampled(call: Callable[[], object], calls: int, *, warm_up: bool = True) -> Counter[Stack]:
    """Return which stacks of functions were met how often, each millisecond of processor time."""
    stacks: Counter[Stack] = Counter()

    def look(_: int, frame: FrameType | None) -> None:
        stack = tuple(_names(frame))[::-1]
        # Between two calls there is none.
        if stack:
            stacks[stack] += 1

    if warm_up:
        call()
    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, SECONDS_BETWEEN, SECONDS_BETWEEN)
    try:
        for _ in range(calls):
            call()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return stacks


def _names(frame: FrameType | None) -> Iterator[str]:
    while frame is not None and frame.f_code.co_name != "sampled":
        module = frame.f_globals.get("__name__", "?")
        yield f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back


def drawn(stacks: Counter[Stack], title: str) -> str:
    """Return the stacks as a drawing: callers below, widths by processor time."""
    whole = sum(stacks.values())
    boxes = sorted(_boxes(stacks, (), 0.0, whole))
    deepest = max((depth for depth, *_ in boxes), default=0)
    height = (deepest + 3) * HEIGHT
    caption = f"{escape(title)}: {whole} samples of the processor"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    lines = [
        f'{svg} font-family="monospace" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff8f0"/>',
        f'<text x="6" y="13">{caption}</text>',
    ]
    return "\n".join([*lines, *(_box(*box, height) for box in boxes), "</svg>\n"])


def _boxes(
    stacks: Counter[Stack], path: Stack, start: float, whole: int
) -> Iterator[tuple[int, float, float, str]]:
    depth = len(path)
    shares: Counter[str] = Counter()
    for stack, count in stacks.items():
        if stack[:depth] == path and len(stack) > depth:
            shares[stack[depth]] += count
    for name, count in sorted(shares.items()):
        share = count / whole
        if share >= LEAST:
            yield depth, start, share, name
            yield from _boxes(stacks, (*path, name), start, whole)
        start += share


def _box(depth: int, start: float, share: float, name: str, height: int) -> str:
    left, width, top = start * WIDTH, share * WIDTH, height - (depth + 1) * HEIGHT
    color = f"hsl({20 + sum(name.encode()) % 35}, 85%, 70%)"
    shown = escape(name.rpartition("credit_sdk.")[2][: int(width / 6.8)]) if width > HEIGHT * 2 else ""
    return (
        f'<g><title>{escape(name)}: {share:.1%}</title><rect x="{left:.1f}" y="{top}" width="{width:.1f}" '
        f'height="{HEIGHT - 1}" fill="{color}"/><text x="{left + 2:.1f}" y="{top + 12}">{shown}</text></g>'
    )


if __name__ == "__main__":
    main()
