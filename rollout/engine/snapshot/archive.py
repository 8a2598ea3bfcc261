"""Reads a dump: its table of contents, and its tables into a database.

pg_restore turns the dump into SQL, which runs on a connection of ours: the same way leads into a
scratch database and, in one transaction, into an environment.
"""

import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import errors

from rollout.engine.control import Control
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.snapshot.pipes import Opens, Program
from rollout.engine.snapshot.programs import Programs
from rollout.engine.snapshot.scripts import entries, for_a_connection
from rollout.engine.target import Connection, settle

_MAX_CHUNK_BYTES = 1 << 18
_COPY = re.compile(rb"COPY .* FROM stdin;\n")
_END = b"\\.\n"


@dataclass(frozen=True)
class Archive:
    """A dump that can be opened as often as is needed."""

    programs: Programs
    opens: Opens
    control: Control

    def contents(self) -> list[str]:
        """The lines of its table of contents. Raises SnapshotError where it cannot be read."""
        text = b"".join(self._run(["--list"])).decode(errors="replace")
        return [line for line in text.splitlines() if line.strip() and not line.startswith(";")]

    def load(
        self,
        connection: Connection,
        *,
        leave_out: Collection[str] = (),
        instead: Mapping[str, str] | None = None,
        once_tables_are_there: Callable[[], None] = lambda: None,
    ) -> None:
        """Put it into a database, but for those entries that one of ``leave_out`` names.

        ``instead`` says which tables' rows go into another table. Raises SnapshotError, which names
        the entry that cannot be made, Interrupted and psycopg.Error.
        """
        self.control.attach(connection)
        wanted = [
            line
            for line in self.contents()
            if not any(f" {entry} " in f"{line} " for entry in leave_out)
        ]
        with tempfile.NamedTemporaryFile("w", suffix=".list") as chosen:
            chosen.write("".join(f"{line}\n" for line in wanted))
            chosen.flush()
            arguments = [f"--use-list={chosen.name}", "--file=-", "--no-owner", "--no-privileges"]
            self._statements(connection, [*arguments, "--section=pre-data"])
            once_tables_are_there()
            self._rows(connection, [*arguments, "--section=data"], instead or {})
            self._statements(connection, [*arguments, "--section=post-data"])
        # The script of pg_restore has its own settings, and what it resets are the role's.
        connection.execute("RESET ALL")
        settle(connection)

    def _run(self, arguments: list[str]) -> Iterator[bytes]:
        command = [self.programs.pg_restore, *arguments]
        with Program(command, env={}, control=self.control, fed_by=self.opens) as program:
            yield from program.output()

    def _statements(self, connection: Connection, arguments: list[str]) -> None:
        for entry in entries(b"".join(self._run(arguments))):
            try:
                _execute(connection, entry.sql)
            except errors.InsufficientPrivilege:
                raise
            except psycopg.ProgrammingError as error:
                raise SnapshotError(
                    f"The {entry.label or 'head'} cannot be recreated from the dump: "
                    f"{error.diag.message_primary or error}.",
                    "Drop it or define it differently, then take another snapshot.",
                ) from error

    def _rows(
        self, connection: Connection, arguments: list[str], instead: Mapping[str, str]
    ) -> None:
        """SQL in which rows follow a COPY line by line, up to a line of their end."""
        lines = _lines(self._run(arguments))
        between: list[bytes] = []
        for line in lines:
            if not _COPY.fullmatch(line):
                between.append(line)
                continue
            _execute(connection, b"".join(between))
            between.clear()
            _copy(connection, _redirected(line, instead), lines)
        _execute(connection, b"".join(between))


def _copy(connection: Connection, statement: bytes, lines: Iterator[bytes]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        batch: list[bytes] = []
        size = 0
        for line in lines:
            if line == _END:
                break
            batch.append(line)
            size += len(line)
            if size >= _MAX_CHUNK_BYTES:
                copy.write(b"".join(batch))
                batch, size = [], 0
        copy.write(b"".join(batch))


def _redirected(statement: bytes, instead: Mapping[str, str]) -> bytes:
    for table, other in instead.items():
        start = f"COPY {table} ".encode()
        if statement.startswith(start):
            return f"COPY {other} ".encode() + statement[len(start) :]
    return statement


def _execute(connection: Connection, script: bytes) -> None:
    script = for_a_connection(script)
    if script.strip():
        connection.execute(script)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a text that comes in chunks, each with its end."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest
