"""Steps that are written as SQL files: ``NNN_description.up.sql`` and ``NNN_description.down.sql``.

Comments that begin with ``-- rollout:`` say what the engine must know. Those at the head of an up
file are about the step, and each block of them begins a statement:

    -- rollout: phase: 1
    -- rollout: description: Add the table of notes
    -- rollout: locks: none
    -- rollout: done: to_regclass('public.notes') IS NOT NULL
    CREATE TABLE notes (id bigint PRIMARY KEY, text text);

    -- rollout: long
    -- rollout: locks: SHARE UPDATE EXCLUSIVE notes
    -- rollout: done: EXISTS (SELECT FROM pg_index
    -- rollout: done:   WHERE indexrelid = to_regclass('public.notes_text') AND indisvalid)
    CREATE INDEX CONCURRENTLY notes_text ON notes (text);

A step may say ``id`` (else its file's description), ``destructive``,
``restrictive`` and ``changes-write-path``.
A statement says ``done``, a SQL expression of one boolean, or ``repeatable``; its ``locks`` or that
there are none; that it is ``long``, and then runs outside a transaction without a lock timeout; how
often it ``scans`` the table; which major versions of ``servers`` it is for, as ``14-17``; that
it ``generates`` statements: it is a query then, whose rows are run one after the other; and that it
is meant to work on a ``whole-table`` in one transaction, which the preflight refuses otherwise.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from psycopg import sql

from rollout.plan.actions import EVERY_SERVER, NO_END, Lock, LockMode, Statement
from rollout.plan.names import code
from rollout.plan.plan import Actions, Plan, Step
from rollout.plan.sql_effects import bare, is_destructive, is_restrictive
from rollout.plan.sql_file_headers import Section, sections_of, text_of

_NAME = re.compile(r"(?P<number>\d{3})_(?P<description>.+)\.(?P<direction>up|down)\.sql")
_OF_STEP = frozenset(
    {"id", "description", "phase", "destructive", "restrictive", "changes-write-path"}
)
_FLAGS = frozenset(
    {
        *("destructive", "restrictive", "changes-write-path"),
        *("long", "repeatable", "generates", "whole-table"),
    }
)
_OF_STATEMENT = frozenset(
    {"done", "repeatable", "locks", "long", "scans", "servers", "generates", "whole-table"}
)
_MODES = sorted((mode.value for mode in LockMode), key=len, reverse=True)
_LOCK = re.compile(rf"(?P<mode>{'|'.join(_MODES)})\s+(?P<table>\S.*)")
_TRANSACTION = re.compile(
    r"(?:^|;)\s*(?:BEGIN|COMMIT|ROLLBACK|START\s+TRANSACTION)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file, and what to write instead."""

    where: str
    what: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class SqlFile(Step):
    """A step whose statements are those of a file, and whose way back are those of another.

    ``problems`` is what a plan check tells; a file that has some does nothing.
    """

    path: Path
    phase: int
    ups: tuple[Statement, ...] = ()
    downs: tuple[Statement, ...] | None = None
    says_destructive: bool = False
    says_restrictive: bool = False
    says_changes_write_path: bool = False
    checksum: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def phases(self) -> frozenset[int]:  # type: ignore[override]
        return frozenset({self.phase})

    @property
    def destructive(self) -> bool:  # type: ignore[override]
        return self.says_destructive

    @property
    def restrictive(self) -> bool:  # type: ignore[override]
        return self.says_restrictive

    @property
    def changes_write_path(self) -> bool:  # type: ignore[override]
        return self.says_changes_write_path

    def forward(self, plan: Plan) -> Actions:
        return self.ups

    def backward(self, plan: Plan) -> Actions | None:
        """What the down file says; without one there is nothing to undo, unless it destroys."""
        return self.downs if self.downs is not None or self.destructive or self.restrictive else ()


@dataclass(frozen=True)
class SqlFiles:
    """The steps of a directory of SQL files, in the order of their numbers."""

    directory: Path
    """The directory of the files."""

    def of_phase(self, number: int) -> tuple[SqlFile, ...]:
        """The SQL files of a phase; unnumbered ones belong to phase 0."""
        return tuple(step for step in self.steps if step.phase == number)

    @cached_property
    def steps(self) -> tuple[SqlFile, ...]:
        """Raises NotADirectoryError."""
        if not self.directory.is_dir():
            raise NotADirectoryError(f"Directory of SQL files not found: {self.directory}.")
        files = {path.name: path for path in sorted(self.directory.glob("*.sql"))}
        steps = [self._step(path, files) for name, path in files.items() if ".up." in name]
        astray = [
            SqlFile(
                id=name,
                description=name,
                path=path,
                phase=0,
                problems=(
                    Problem(
                        name,
                        "has no .up.sql file, or an unrecognised name",
                        "Name it NNN_description.up.sql, its rollback NNN_description.down.sql.",
                    ),
                ),
            )
            for name, path in files.items()
            if (".up." not in name and name.replace(".down.", ".up.") not in files)
            or (".up." not in name and ".down." not in name)
        ]
        return tuple(_numbered_once(steps)) + tuple(astray)

    def _step(self, path: Path, files: dict[str, Path]) -> SqlFile:
        down = files.get(path.name.replace(".up.", ".down."))
        return read_step(path, down)


def _numbered_once(steps: Sequence[SqlFile]) -> Iterator[SqlFile]:
    seen: dict[str, str] = {}
    for step in steps:
        number = step.path.name[:3]
        if number in seen:
            problem = Problem(
                step.path.name, f"has the number of {seen[number]}", "Give it the next free number."
            )
            step = replace(step, problems=(*step.problems, problem))
        seen.setdefault(number, step.path.name)
        yield step


def read_step(path: Path, down: Path | None) -> SqlFile:
    """The step of an up file and its down file, with whatever is wrong with them."""
    return _Reader(path, down).step()


class _Reader:
    def __init__(self, path: Path, down: Path | None) -> None:
        self.path = path
        self.down = down
        self.problems: list[Problem] = []

    def step(self) -> SqlFile:
        name = _NAME.fullmatch(self.path.name)
        if name is None:
            self._wrong(self.path, 0, "has no number", "Name it NNN_description.up.sql.")
        of_file = name["description"] if name else self.path.name.partition(".")[0]
        up_text = self.path.read_text(encoding="utf-8")
        down_text = self.down.read_text(encoding="utf-8") if self.down else None
        ups = sections_of(up_text)
        headers = ups[0].headers if ups else {}
        destructive = "destructive" in headers
        statements = self._statements(self.path, ups)
        step = SqlFile(
            id=text_of(headers, "id") or of_file.replace("_", "-"),
            description=text_of(headers, "description") or of_file.replace("_", " ").capitalize(),
            path=self.path,
            phase=self._phase(headers),
            ups=statements,
            downs=None
            if self.down is None or down_text is None
            else self._statements(self.down, sections_of(down_text)),
            says_destructive=destructive,
            says_restrictive="restrictive" in headers
            or any(is_restrictive(statement.text) for statement in statements),
            says_changes_write_path="changes-write-path" in headers,
            # Git may give the same file other line ends on another machine.
            checksum=hashlib.sha256(
                f"{_lines(up_text)}\0{_lines(down_text or '')}".encode()
            ).hexdigest(),
        )
        if not destructive and any(is_destructive(statement.text) for statement in step.ups):
            self._wrong(
                *(self.path, 0, "removes or overwrites data, but is not marked as destructive"),
                "Write '-- rollout: destructive' at its head, and a down file.",
            )
        if (destructive or step.restrictive) and not step.downs:
            what = "destructive" if destructive else "restrictive"
            self._wrong(
                *(self.path, 0, f"is {what}, but has no rollback"),
                f"Write {self.path.name.replace('.up.', '.down.')}: the statements that undo it.",
            )
        if self.problems:
            return replace(step, ups=(), downs=(), problems=tuple(self.problems))
        return step

    def _phase(self, headers: dict[str, list[str]]) -> int:
        text = text_of(headers, "phase")
        if text not in ("0", "1", "2", "3", "4"):
            self._wrong(
                *(self.path, 1, "has no phase header"),
                "Write '-- rollout: phase: 1' at its head, with a phase from 0 to 4.",
            )
            return 0
        return int(text)

    def _statements(self, path: Path, sections: list[Section]) -> tuple[Statement, ...]:
        statements = []
        for number, section in enumerate(sections):
            is_head = number == 0 and path == self.path
            known = _OF_STATEMENT | (_OF_STEP if is_head else frozenset())
            for key, values in section.headers.items():
                if key not in known:
                    self._wrong(
                        *(path, section.line, f"has the unknown header '{key}'"),
                        f"Known headers: {', '.join(sorted(known))}.",
                    )
                elif (key in _FLAGS) != (values == [""]):
                    self._wrong(
                        *(path, section.line, f"has a malformed header '{key}'"),
                        f"Write '-- rollout: {key}{'' if key in _FLAGS else ': ...'}'.",
                    )
            if bare(section.text).strip():
                statements.append(self._statement(path, section))
            elif section.headers.keys() & _OF_STATEMENT:
                self._wrong(
                    path,
                    section.line,
                    "has a header without a statement",
                    "Write the statement, or remove the header.",
                )
        return tuple(statements)

    def _statement(self, path: Path, section: Section) -> Statement:
        headers, line, text = section.headers, section.line, section.text
        done = "\n".join(headers.get("done", []))
        if not done and "repeatable" not in headers:
            self._wrong(
                *(path, line, "has no done header, which checks whether it is applied"),
                "Write '-- rollout: done: ' and a SQL expression that is true once it is, or "
                "'-- rollout: repeatable' if it may run any number of times.",
            )
        long = "long" in headers
        outside = bare(text)
        concurrent = re.search(r"\bCONCURRENTLY\b", outside, re.IGNORECASE)
        if concurrent and not long:
            self._wrong(
                *(path, line, "uses CONCURRENTLY, which cannot run in a transaction"),
                "Write '-- rollout: long' above it.",
            )
        elif concurrent and ";" in outside:
            self._wrong(
                *(path, line, "has several statements, one of them CONCURRENTLY"),
                "Give each a header of its own.",
            )
        if _TRANSACTION.search(outside):
            self._wrong(
                *(path, line, "begins or ends a transaction"),
                "Remove it: each statement runs in a transaction of its own.",
            )
        return Statement(
            sql=sql.Composed([code(text)]),
            done=code(f"({done})") if done else None,
            locks=self._locks(path, section),
            long=long,
            scans=int(scans) if (scans := text_of(headers, "scans")).isdecimal() else 0,
            servers=self._servers(path, section),
            generates="generates" in headers,
            over_whole_table="whole-table" in headers,
        )

    def _locks(self, path: Path, section: Section) -> tuple[Lock, ...]:
        listed = ";".join(section.headers.get("locks", []))
        if not listed:
            self._wrong(
                *(path, section.line, "has no locks header"),
                "Write '-- rollout: locks: ACCESS EXCLUSIVE orders', several with semicolons "
                "between them, or '-- rollout: locks: none'.",
            )
        locks = []
        for text in listed.split(";") if listed not in ("", "none") else []:
            lock = _LOCK.fullmatch(text.strip())
            if lock is None:
                self._wrong(
                    *(path, section.line, f"names the unknown lock '{text.strip()}'"),
                    f"A mode is one of {', '.join(mode.value for mode in LockMode)}; a table "
                    "follows.",
                )
            else:
                locks.append(Lock(LockMode(lock["mode"]), lock["table"]))
        return tuple(locks)

    def _servers(self, path: Path, section: Section) -> tuple[int, int]:
        versions = text_of(section.headers, "servers")
        if not versions:
            return EVERY_SERVER
        bounds = re.fullmatch(r"(\d+)?-(\d+)?", versions)
        if bounds is None:
            self._wrong(
                *(path, section.line, f"has the malformed servers header '{versions}'"),
                "Write '-- rollout: servers: 14-17', or '18-' for that version and later.",
            )
            return EVERY_SERVER
        return int(bounds[1] or 0), int(bounds[2]) + 1 if bounds[2] else NO_END

    def _wrong(self, path: Path, line: int, what: str, hint: str) -> None:
        where = f"{path.name}:{line}" if line else path.name
        self.problems.append(Problem(where, what, hint))


def _lines(text: str) -> str:
    return "\n".join(text.splitlines())
