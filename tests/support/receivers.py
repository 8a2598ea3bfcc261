"""A receiver of webhooks over real HTTP, that takes, refuses, hangs, drips or redirects."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Behaviour = Literal["take", "refuse", "hang", "drip", "redirect", "nonsense", "hang up"]


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content


@dataclass
class Receiver:
    """Listens on a port of its own; ``does`` may change while it does."""

    port: int = 0
    does: Behaviour = "take"
    received: list[Received] = field(default_factory=list)
    taken: list[Received] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/T0/very-secret?x=1"

    @property
    def events(self) -> list[str]:
        """What was taken, in order."""
        return [request.json["data"]["event"] for request in self.taken]


@contextmanager
def receiver(does: Behaviour = "take") -> Iterator[Receiver]:
    listening = Receiver(does=does)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            listening.received.append(request)
            with suppress(OSError):
                self._answer(listening.does, request)

        def do_GET(self) -> None:
            listening.received.append(Received("GET " + self.path, {}, b""))

        def _answer(self, does: Behaviour, request: Received) -> None:
            match does:
                case "take":
                    listening.taken.append(request)
                    self.send_response(204)
                    self.end_headers()
                case "refuse":
                    self.send_error(500, "secret inside")
                case "hang":
                    listening.ended.wait(300)
                case "drip":
                    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 1000:
                        self.wfile.write(bytes([byte]))
                        if listening.ended.wait(0.2):
                            return
                case "redirect":
                    self.send_response(307)
                    self.send_header("Location", f"http://127.0.0.1:{listening.port}/elsewhere")
                    self.end_headers()
                case "nonsense":
                    self.wfile.write(b"this is no HTTP\r\n\r\n")
                case "hang up":
                    self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    listening.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield listening
    finally:
        listening.ended.set()
        server.shutdown()
        server.server_close()
