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
often it ``scans`` the table; which major versions of ``servers`` it is for, as ``14-17``; and that
it ``generates`` statements: it is a query then, whose rows are carried out one after the other.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import sql

from rollout.plan.actions import EVERY_SERVER, NO_END, Lock, LockMode, Statement
from rollout.plan.names import SCHEMA, code
from rollout.plan.step import Actions, Step

if TYPE_CHECKING:
    from rollout.plan.plan import Plan

_NAME = re.compile(r"(?P<number>\d{3})_(?P<description>.+)\.(?P<way>up|down)\.sql")
_LINE = re.compile(r"\s*--\s*rollout:\s*(?P<key>[a-z-]+)(?::\s*(?P<value>.*?))?\s*")
_OF_STEP = frozenset(
    {"id", "description", "phase", "destructive", "restrictive", "changes-write-path"}
)
_FLAGS = frozenset(
    {"destructive", "restrictive", "changes-write-path", "long", "repeatable", "generates"}
)
_OF_STATEMENT = frozenset({"done", "repeatable", "locks", "long", "scans", "servers", "generates"})
_MODES = sorted((mode.value for mode in LockMode), key=len, reverse=True)
_LOCK = re.compile(rf"(?P<mode>{'|'.join(_MODES)})\s+(?P<table>\S.*)")

_NOISE = re.compile(
    # What is no code: comments, texts, quoted names; a function's body is not run now, DO's is.
    r"--[^\n]*|/\*.*?\*/|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
    r"|(?P<do>\bDO\s+(?:LANGUAGE\s+\w+\s+)?)?(?P<tag>\$\w*\$)(?P<body>.*?)(?P=tag)",
    re.DOTALL | re.IGNORECASE,
)
_DESTRUCTIVE = re.compile(
    r"(?<!\bCOMMIT\s)\bDROP\b(?!\s+(?:NOT\s+NULL|DEFAULT|EXPRESSION|IDENTITY))|\bTRUNCATE\b|\bDELETE\s+FROM\b"
    r"|\bUPDATE\s+(?:ONLY\s+)?[\w.]+(?:\s+(?:AS\s+)?\w+)?\s+SET\b|\bDO\s+UPDATE\s+SET\b|\bMERGE\s+INTO\b"
    r"|\bALTER\s+(?:COLUMN\s+)?\w+\s+(?:SET\s+DATA\s+)?TYPE\b",
    re.IGNORECASE,
)
_OWN_UPDATE = re.compile(rf'\bUPDATE\s+"{SCHEMA}"\."(?:[^"]|"")+"', re.IGNORECASE)
_RESTRICTIVE = re.compile(
    r"\bSET\s+NOT\s+NULL\b|\bADD\b[^;,]*?\bNOT\s+NULL\b|\bCREATE\s+UNIQUE\s+INDEX\b"
    r"|\bADD\s+(?:CONSTRAINT|CHECK|UNIQUE|PRIMARY\s+KEY|FOREIGN\s+KEY|EXCLUDE)\b",
    re.IGNORECASE,
)
_TRANSACTION = re.compile(
    r"(?:^|;)\s*(?:BEGIN|COMMIT|ROLLBACK|START\s+TRANSACTION)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file, and what to write instead."""

    where: str
    what: str
    hint: str


@dataclass
class _Section:
    """A block of header lines and the SQL after it, down to the next block."""

    line: int
    said: dict[str, list[str]] = field(default_factory=dict)
    sql: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The SQL without its last semicolon, and without what is only said after it."""
        lines = list(self.sql)
        while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("--")):
            lines.pop()
        return "\n".join(lines).strip().rstrip(";").rstrip()


def bare(text: str) -> str:
    """SQL without its comments, texts and quoted names, which each leave a word."""

    def without(found: re.Match[str]) -> str:
        if found["do"]:
            return f"DO {bare(found['body'])} "
        return " " if found[0].startswith(("--", "/*")) else "quoted"

    return _NOISE.sub(without, text)


def is_destructive(text: str) -> bool:
    """Whether SQL takes away or overwrites something that is there.

    Counts and the like that the engine keeps in its own schema are nobody's data.
    """
    return _DESTRUCTIVE.search(bare(_OWN_UPDATE.sub("", text))) is not None


def is_restrictive(text: str) -> bool:
    """Whether SQL has the database refuse what it took before."""
    return _RESTRICTIVE.search(bare(text)) is not None


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

    def forward(self, plan: "Plan") -> Actions:
        return self.ups

    def backward(self, plan: "Plan") -> Actions | None:
        """What the down file says; without one there is nothing to undo, unless it destroys."""
        return self.downs if self.downs is not None or self.destructive or self.restrictive else ()


@dataclass(frozen=True)
class SqlFiles:
    """The steps of a directory of SQL files, in the order of their numbers."""

    directory: Path

    def of_phase(self, number: int) -> tuple[SqlFile, ...]:
        """Those of a phase, to be put among its steps. A file of no phase is among those of 0."""
        return tuple(step for step in self.steps if step.phase == number)

    @cached_property
    def steps(self) -> tuple[SqlFile, ...]:
        """Raises NotADirectoryError."""
        if not self.directory.is_dir():
            raise NotADirectoryError(f"There is no directory {self.directory} of SQL files.")
        found = {path.name: path for path in sorted(self.directory.glob("*.sql"))}
        steps = [self._step(path, found) for name, path in found.items() if ".up." in name]
        astray = [
            SqlFile(
                id=name,
                description=name,
                path=path,
                phase=0,
                problems=(
                    Problem(
                        name,
                        "has no up file, or no name that says what it is",
                        "Name it NNN_description.up.sql, its way back NNN_description.down.sql.",
                    ),
                ),
            )
            for name, path in found.items()
            if (".up." not in name and name.replace(".down.", ".up.") not in found)
            or (".up." not in name and ".down." not in name)
        ]
        return tuple(_numbered_once(steps)) + tuple(astray)

    def _step(self, path: Path, found: dict[str, Path]) -> SqlFile:
        down = found.get(path.name.replace(".up.", ".down."))
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
        ups = _sections(up_text)
        said = ups[0].said if ups else {}
        destructive = "destructive" in said
        statements = self._statements(self.path, ups)
        step = SqlFile(
            id=_one(said, "id") or of_file.replace("_", "-"),
            description=_one(said, "description") or of_file.replace("_", " ").capitalize(),
            path=self.path,
            phase=self._phase(said),
            ups=statements,
            downs=None
            if self.down is None or down_text is None
            else self._statements(self.down, _sections(down_text)),
            says_destructive=destructive,
            says_restrictive="restrictive" in said
            or any(is_restrictive(statement.text) for statement in statements),
            says_changes_write_path="changes-write-path" in said,
            # Git may give the same file other line ends on another machine.
            checksum=hashlib.sha256(
                f"{_lines(up_text)}\0{_lines(down_text or '')}".encode()
            ).hexdigest(),
        )
        if not destructive and any(is_destructive(statement.text) for statement in step.ups):
            self._wrong(
                *(self.path, 0, "takes away or overwrites something, and does not say so"),
                "Write '-- rollout: destructive' at its head, and a down file.",
            )
        if (destructive or step.restrictive) and not step.downs:
            what = "destructive" if destructive else "restrictive"
            self._wrong(
                *(self.path, 0, f"is {what} and has no way back"),
                f"Write {self.path.name.replace('.up.', '.down.')}: the statements that undo it.",
            )
        if self.problems:
            return replace(step, ups=(), downs=(), problems=tuple(self.problems))
        return step

    def _phase(self, said: dict[str, list[str]]) -> int:
        text = _one(said, "phase")
        if text not in ("0", "1", "2", "3", "4"):
            self._wrong(
                *(self.path, 1, "does not say its phase"),
                "Write '-- rollout: phase: 1' at its head, with a phase from 0 to 4.",
            )
            return 0
        return int(text)

    def _statements(self, path: Path, sections: list[_Section]) -> tuple[Statement, ...]:
        statements = []
        for number, section in enumerate(sections):
            is_head = number == 0 and path == self.path
            known = _OF_STATEMENT | (_OF_STEP if is_head else frozenset())
            for key, values in section.said.items():
                if key not in known:
                    self._wrong(
                        *(path, section.line, f"says '{key}', which nobody understands here"),
                        f"Known are {', '.join(sorted(known))}.",
                    )
                elif (key in _FLAGS) != (values == [""]):
                    self._wrong(
                        *(path, section.line, f"says '{key}' in a way that nobody understands"),
                        f"Write '-- rollout: {key}{'' if key in _FLAGS else ': ...'}'.",
                    )
            if bare(section.text).strip():
                statements.append(self._statement(path, section))
            elif section.said.keys() & _OF_STATEMENT:
                self._wrong(
                    path,
                    section.line,
                    "has a header and no statement",
                    "Write one, or take it out.",
                )
        return tuple(statements)

    def _statement(self, path: Path, section: _Section) -> Statement:
        said, line, text = section.said, section.line, section.text
        done = "\n".join(said.get("done", []))
        if not done and "repeatable" not in said:
            self._wrong(
                *(path, line, "does not say how to ask whether it is applied"),
                "Write '-- rollout: done: ' and a SQL expression that is true once it is, or "
                "'-- rollout: repeatable' where it may run any number of times.",
            )
        long = "long" in said
        outside = bare(text)
        concurrent = re.search(r"\bCONCURRENTLY\b", outside, re.IGNORECASE)
        if concurrent and not long:
            self._wrong(
                *(path, line, "works concurrently, which no transaction can do"),
                "Write '-- rollout: long' above it.",
            )
        elif concurrent and ";" in outside:
            self._wrong(
                *(path, line, "has several statements, and one of them works concurrently"),
                "Give each a header of its own.",
            )
        if _TRANSACTION.search(outside):
            self._wrong(
                *(path, line, "begins or ends a transaction"),
                "Take that out: each statement has one of its own.",
            )
        return Statement(
            sql=sql.Composed([code(text)]),
            done=code(f"({done})") if done else None,
            locks=self._locks(path, section),
            long=long,
            scans=int(scans) if (scans := _one(said, "scans")).isdecimal() else 0,
            servers=self._servers(path, section),
            generates="generates" in said,
        )

    def _locks(self, path: Path, section: _Section) -> tuple[Lock, ...]:
        said = ";".join(section.said.get("locks", []))
        if not said:
            self._wrong(
                *(path, section.line, "does not say which locks it takes"),
                "Write '-- rollout: locks: ACCESS EXCLUSIVE orders', several with semicolons "
                "between them, or '-- rollout: locks: none'.",
            )
        locks = []
        for text in said.split(";") if said not in ("", "none") else []:
            found = _LOCK.fullmatch(text.strip())
            if found is None:
                self._wrong(
                    *(path, section.line, f"names the lock '{text.strip()}', which there is not"),
                    f"A mode is one of {', '.join(mode.value for mode in LockMode)}; a table "
                    "follows.",
                )
            else:
                locks.append(Lock(LockMode(found["mode"]), found["table"]))
        return tuple(locks)

    def _servers(self, path: Path, section: _Section) -> tuple[int, int]:
        said = _one(section.said, "servers")
        if not said:
            return EVERY_SERVER
        found = re.fullmatch(r"(\d+)?-(\d+)?", said)
        if found is None:
            self._wrong(
                *(path, section.line, f"is for the servers '{said}'"),
                "Write '-- rollout: servers: 14-17', or '18-' for all from there on.",
            )
            return EVERY_SERVER
        return int(found[1] or 0), int(found[2]) + 1 if found[2] else NO_END

    def _wrong(self, path: Path, line: int, what: str, hint: str) -> None:
        where = f"{path.name}:{line}" if line else path.name
        self.problems.append(Problem(where, what, hint))


def _sections(text: str) -> list[_Section]:
    """The blocks of header lines, each with the SQL after it; a comment before them is dropped."""
    sections: list[_Section] = []
    in_header = False
    for number, line in enumerate(text.splitlines(), start=1):
        found = _LINE.fullmatch(line)
        if found is None:
            in_header = False
            if sections:
                sections[-1].sql.append(line)
            elif bare(line).strip():
                # A statement that nobody says anything about is to be complained of.
                sections.append(_Section(number, sql=[line]))
            continue
        if not in_header:
            sections.append(_Section(number))
        in_header = True
        sections[-1].said.setdefault(found["key"], []).append(found["value"] or "")
    return sections


def _one(said: dict[str, list[str]], key: str) -> str:
    return " ".join(said.get(key, []))


def _lines(text: str) -> str:
    return "\n".join(text.splitlines())
