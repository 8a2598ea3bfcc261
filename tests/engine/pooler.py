"""A pooler in transaction mode: after each transaction its server connection is anybody's.

It speaks as much of PostgreSQL's protocol as a client over a Unix socket needs.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rollout.engine.target import Target

_READY, _KEY, _TERMINATE = b"Z", b"K", b"X"
_ASKS = (b"Q", b"S")
"""Messages that the server answers up to its ReadyForQuery."""


class _Server:
    def __init__(self, path: str, startup: bytes) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.sendall(startup)
        self.greeting = list(self.answers())

    def answers(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            kind, body = _message(self.socket)
            yield kind, body
            if kind == _READY:
                return


def _exactly(stream: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = stream.recv(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _message(stream: socket.socket) -> tuple[bytes, bytes]:
    kind = _exactly(stream, 1)
    (size,) = struct.unpack("!i", _exactly(stream, 4))
    return kind, _exactly(stream, size - 4)


def _framed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


class _Pool:
    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: list[_Server] = []
        self._lock = threading.Lock()

    def take(self, startup: bytes) -> _Server:
        with self._lock:
            return self._idle.pop() if self._idle else _Server(self._path, startup)

    def put(self, server: _Server) -> None:
        with self._lock:
            self._idle.append(server)

    def close(self) -> None:
        for server in self._idle:
            server.socket.close()


def _serve(client: socket.socket, pool: _Pool) -> None:
    with suppress(EOFError, OSError), client:
        (size,) = struct.unpack("!i", _exactly(client, 4))
        startup = struct.pack("!i", size) + _exactly(client, size - 4)
        server: _Server | None = pool.take(startup)
        assert server is not None
        for kind, body in server.greeting:
            payload = struct.pack("!ii", 4711, 42) if kind == _KEY else body
            client.sendall(_framed(kind, payload))
        pool.put(server)
        server = None
        while True:
            kind, body = _message(client)
            if kind == _TERMINATE:
                return
            server = server or pool.take(startup)
            server.socket.sendall(_framed(kind, body))
            if kind not in _ASKS:
                continue
            for answer, content in server.answers():
                client.sendall(_framed(answer, content))
            if content == b"I":
                pool.put(server)
                server = None


@contextmanager
def transaction_pooler(target: Target, directory: Path) -> Iterator[Target]:
    """The target by way of a pooler in transaction mode."""
    pool = _Pool(f"{target.parameters['host']}/.s.PGSQL.5432")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / ".s.PGSQL.5432"))
    listener.listen()

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=_serve, args=(client, pool), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield Target({**target.parameters, "host": str(directory)})
    finally:
        listener.close()
        pool.close()
