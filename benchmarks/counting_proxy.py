"""A TCP proxy that counts round trips: how often the talk turns from the server back to the client."""

import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class CountingProxy:
    """Listens on a free port, forwards to `host:port`, counts turns."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.round_trips = 0
        self._speaker = ""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for source, sink, name in ((client, server, "client"), (server, client, "server")):
                threading.Thread(target=self._forward, args=(source, sink, name), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, speaker: str) -> None:
        while data := _received(source):
            if speaker == "client" and self._speaker != "client":
                self.round_trips += 1
            self._speaker = speaker
            sink.sendall(data)
        sink.close()


def through(url: str, proxy: CountingProxy) -> str:
    """Return the URL with the proxy in place of its host."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}127.0.0.1:{proxy.port}").geturl()


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65_536)
    except OSError:
        return b""
