"""Takes the scripts of pg_dump and pg_restore apart: entry by entry, each with its name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEAD = re.compile(
    rb"^--\n-- Name: (?P<name>.+); Type: (?P<kind>[A-Z ]+); Schema: (?P<schema>.+);"
    rb" Owner: .*\n--\n",
    re.MULTILINE,
)
# For psql alone; and a setting that servers before 17 do not know.
_NOT_FOR_US = re.compile(rb"^(\\(un)?restrict .*|SET transaction_timeout = 0;)\n", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """One object's SQL; what precedes the first object has no name."""

    label: str
    sql: bytes


def entries(script: bytes) -> Iterator[Entry]:
    """The entries of a script in its order, the comments that name them included."""
    script = for_a_connection(script)
    heads = list(_HEAD.finditer(script))
    first = heads[0].start() if heads else len(script)
    if script[:first].strip():
        yield Entry("", script[:first])
    ends = [*(head.start() for head in heads[1:]), len(script)]
    for head, end in zip(heads, ends, strict=False):
        yield Entry(_label(head), script[head.start() : end])


def for_a_connection(script: bytes) -> bytes:
    """The script without what only psql, or only a newer server, takes."""
    return _NOT_FOR_US.sub(b"", script)


def label_of(statement: str) -> str:
    """What an entry's SQL makes."""
    head = _HEAD.search(statement.encode())
    return _label(head) if head else " ".join(statement.split())[:80]


def _label(head: re.Match[bytes]) -> str:
    schema, name = head["schema"].decode(), head["name"].decode()
    of = "" if schema == "-" else f"{schema}."
    return f"{head['kind'].decode().lower()} {of}{name}"
