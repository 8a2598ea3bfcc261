"""What SQL does to a whole table in one transaction, judged by its text.

Such a statement has no progress, no pause and no resume: while it runs it holds its locks, and
keeps vacuum from cleaning up anywhere in the database.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rollout.plan.sql_effects import bare

_NAME = r'(?:"(?:[^"]|"")+"|\w+)(?:\.(?:"(?:[^"]|"")+"|\w+))*'
_TABLE = rf"(?:ONLY\s+)?(?P<table>{_NAME})"
# Who groups, or takes the first few, keeps little of what is read.
_FEW = re.compile(r"\bGROUP\s+BY\b|\bDISTINCT\b|\bLIMIT\b|\bWITH\s+NO\s+DATA\b", re.IGNORECASE)
_SOURCES = re.compile(rf"\b(?:FROM|JOIN)\s+{_TABLE}", re.IGNORECASE)
_COPY = re.compile(
    r"^\s*(?:CREATE\s+(?:(?:GLOBAL|LOCAL|TEMP|TEMPORARY|UNLOGGED)\s+)*TABLE\b.*?\bAS\b"
    r"|CREATE\s+MATERIALIZED\s+VIEW\b|INSERT\s+INTO\b|SELECT\b.*?\bINTO\s+(?!STRICT\b))",
    re.IGNORECASE | re.DOTALL,
)
_WHERE = re.compile(r"\bWHERE\b(.*)", re.IGNORECASE | re.DOTALL)
# How the statement begins that names the table: by it, what is done.
_KINDS = (
    (
        "writes rows of",
        rf"\bUPDATE\s+{_TABLE}\s*\*?\s*(?:(?:AS\s+)?(?!SET\b){_NAME}\s+)?SET\b"
        rf"|\bDELETE\s+FROM\s+{_TABLE.replace('table', 'deleted')}"
        rf"|\bMERGE\s+INTO\s+{_TABLE.replace('table', 'merged')}",
    ),
    (
        "rewrites",
        rf"\bALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?{_TABLE}.*?(?:"
        rf"\bALTER\s+(?:COLUMN\s+)?{_NAME}\s+(?:SET\s+DATA\s+)?TYPE\b"
        r"|\bSET\s+(?:TABLESPACE|LOGGED|UNLOGGED|ACCESS\s+METHOD)\b"
        r"|\bADD\b[^,]*?\b(?:STORED|(?:small|big)?serial|GENERATED\s+(?:ALWAYS|BY\s+DEFAULT)\s+AS\s+"
        r"IDENTITY|(?:gen_random_uuid|uuid\w*|random|clock_timestamp|timeofday|nextval)\s*\())"
        rf"|^\s*VACUUM\b(?:\s*\([^)]*\bFULL\b[^)]*\)|\s+FULL\b)(?:\s+(?:FREEZE|VERBOSE|ANALYZE))*"
        rf"\s+(?P<vacuumed>{_NAME})"
        rf"|^\s*CLUSTER\s+(?:\([^)]*\)\s*|VERBOSE\s+)?(?P<clustered>{_NAME})",
    ),
    (
        "sorts",
        rf"\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY\b).*?\bON\s+(?!ONLY\b)(?P<table>{_NAME})"
        rf"|^\s*REINDEX\s+(?:\([^)]*\)\s*)?(?:TABLE|INDEX)\s+(?!CONCURRENTLY\b)(?P<reindexed>{_NAME})"
        rf"|\bALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?{_TABLE.replace('table', 'constrained')}.*?"
        rf"\bADD\s+(?:CONSTRAINT\s+{_NAME}\s+)?(?:PRIMARY\s+KEY|UNIQUE|EXCLUDE)\b(?!\s+USING\s+INDEX)",
    ),
    (
        "scans, under a lock,",
        rf"\bALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?{_TABLE}.*?"
        rf"\bADD\s+(?:CONSTRAINT\s+{_NAME}\s+)?(?:CHECK|FOREIGN\s+KEY)\b(?!.*\bNOT\s+VALID\b)",
    ),
    (
        "recomputes",
        rf"^\s*REFRESH\s+MATERIALIZED\s+VIEW\s+(?!CONCURRENTLY\b)(?P<table>{_NAME})",
    ),
)
_RETYPED = re.compile(
    rf"\bALTER\s+(?:COLUMN\s+)?(?P<column>{_NAME})\s+(?:SET\s+DATA\s+)?TYPE\s+(?P<type>[^,]+)",
    re.IGNORECASE,
)
_PATTERNS = tuple(
    (what, re.compile(pattern, re.IGNORECASE | re.DOTALL)) for what, pattern in _KINDS
)


@dataclass(frozen=True)
class Work:
    """What a statement does to a table, which is named as its SQL names it.

    ``range`` is the text of its WHERE: work on a part, if that names a column of the key; None for
    what has no parts. ``retyped`` are columns that alone are the reason, each with its new type:
    some types follow from others without a rewrite.
    """

    what: str
    table: str
    range: str | None = None
    retyped: tuple[tuple[str, str], ...] = ()


def work_on_whole_tables(text: str) -> list[Work]:
    """What SQL does to tables in one transaction; nothing where it takes only few of their rows."""
    return [
        work for statement in bare(text, names=True).split(";") for work in _of_statement(statement)
    ]


def _of_statement(text: str) -> Iterator[Work]:
    where = _WHERE.search(text)
    condition = where[1] if where else ""
    if _COPY.match(text) and not _FEW.search(text):
        for name in dict.fromkeys(match["table"] for match in _SOURCES.finditer(text)):
            yield Work("copies", name, condition)
    for what, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            name = next(group for group in match.groupdict().values() if group)
            yield Work(
                what,
                name,
                condition if what == "writes rows of" else None,
                tuple(_RETYPED.findall(text)) if match[0].upper().endswith("TYPE") else (),
            )
