"""Running PostgreSQL's programs, whose output is read bit by bit and whose complaints are kept."""

import os
import select
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Protocol, Self

from rollout.engine.control import Control
from rollout.engine.snapshot import failures

CHUNK_BYTES = 1 << 20
_POLL_SECONDS = 0.5
_STOP_SECONDS = 10


class Readable(Protocol):
    """A file that can be read and closed, as a storage opens it."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


# Opens a dump at its beginning.
Opens = Callable[[], Readable]


class Program:
    """A running program. It does not outlive its ``with``."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        control: Control,
        fed_by: Opens | None = None,
    ) -> None:
        self._name = command[0]
        self._control = control
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed with the program
        self._feeder: _Feeder | None = None
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if fed_by is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={**_ours(), **env},
        )
        if fed_by is not None:
            assert self._process.stdin is not None
            self._feeder = _Feeder(fed_by, self._process.stdin)
            self._feeder.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._feeder is not None:
            self._feeder.join(_STOP_SECONDS)
        self._complaints.close()

    def output(self) -> Iterator[bytes]:
        """What it writes, until its end. Raises SnapshotError unless that was a good one."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while True:
            self._control.raise_if_stopped()
            if not select.select([pipe], [], [], _POLL_SECONDS)[0]:
                continue
            chunk = os.read(pipe, CHUNK_BYTES)
            if not chunk:
                break
            yield chunk
        code = self._process.wait()
        if self._feeder is not None:
            self._feeder.join(_STOP_SECONDS)
            if self._feeder.error is not None:
                raise self._feeder.error
        if code != 0:
            self._complaints.seek(0)
            message = self._complaints.read().decode(errors="replace")
            raise failures.of_program(self._name, code, message)


class _Feeder(threading.Thread):
    """Writes a dump into a program that reads it; one that has read enough may stop."""

    def __init__(self, opens: Opens, pipe: IO[bytes]) -> None:
        super().__init__(name="feeder", daemon=True)
        self._opens = opens
        self._pipe = pipe
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with self._pipe as pipe, _closing(self._opens()) as dump:
                while chunk := dump.read(CHUNK_BYTES):
                    pipe.write(chunk)
        except (BrokenPipeError, ValueError):
            pass
        except OSError as error:
            self.error = failures.of_storage(error)
        except Exception as error:
            self.error = error


@contextmanager
def _closing(dump: Readable) -> Iterator[Readable]:
    try:
        yield dump
    finally:
        dump.close()


def _ours() -> dict[str, str]:
    """This process's environment without what would send a program to another server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "PGAPPNAME": "rollout"}
