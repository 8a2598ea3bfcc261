"""Functions that take the shape of a table's rows for granted: they break when columns come or go.

PostgreSQL keeps no record of what a function's text reads, so the text is read here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rollout.engine.preflight.item import Item, Scope, oids_of, rows
from rollout.engine.target import Connection
from rollout.plan.expected_catalogs import expected
from rollout.plan.names import SCHEMA
from rollout.plan.table import Shape, Table

_COMMENT_OR_TEXT = re.compile(r"--[^\n]*|/\*.*?\*/|('(?:[^']|'')*')", re.DOTALL)
_WRITES = re.compile(
    r'\b(?:insert\s+into|merge\s+into|update\s+[\w".\s]+?\bset)\b.*', re.IGNORECASE | re.DOTALL
)
_STAR = r"(?:\b(?:{rows})|\)|\$\d+)\s*\.\s*\*"
_WHOLE_ROW = r'\b(?:{rows})\b(?!\s*\.\s*[\w"])'
_ROW = r"(?:row\s*)?\(?\s*(?:new|old)\s*\.\s*\*\s*\)?"
_COMPARISON = re.compile(
    rf"{_ROW}\s*(?:is\s+(?:not\s+)?distinct\s+from|=|<>|!=)\s*{_ROW}", re.IGNORECASE
)
_LISTS = re.compile(r"\b(?:select|values|row)\b", re.IGNORECASE)
_WORD = re.compile(r'[\w"]+\s*$')
# A star within these parentheses gives its columns; within a function's it gives the row.
_OPENS_LIST = re.compile(r"\b(?:values|row|in|and|or|not|select|then|else|when)\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Function:
    """A function of the application's, by its signature."""

    name: str
    language: str
    text: str
    trigger: str = ""
    """The trigger that calls the function, if it is a trigger's."""
    arguments: tuple[str, ...] = ()
    """What the trigger gives it."""
    transition_tables: tuple[str, ...] = ()
    """What its trigger calls the rows before and after a statement."""
    returns_rows: bool = False

    def __str__(self) -> str:
        return f"{self.name} of trigger {self.trigger}" if self.trigger else self.name


def _triggers_functions(connection: Connection, oids: list[int]) -> list[Function]:
    functions = rows(
        connection,
        """
        SELECT DISTINCT p.oid::regprocedure::text, l.lanname::text, p.prosrc, g.tgname::text,
               g.tgargs, array_remove(ARRAY[g.tgoldtable, g.tgnewtable]::text[], NULL)
          FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
          JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE g.tgrelid = ANY (%(oids)s::oid[]) AND NOT g.tgisinternal AND g.tgenabled <> 'D'
           AND n.nspname <> %(own)s
         ORDER BY 1, 4
        """,
        oids=oids,
        own=SCHEMA,
    )
    return [
        Function(
            *(name, language, code_of(text), trigger, tuple(given.decode().split("\0"))),
            transition_tables=tuple(transition_tables),
        )
        for name, language, text, trigger, given, transition_tables in functions
    ]


def _functions_of_rows(connection: Connection, oids: list[int]) -> list[Function]:
    """Functions whose result or argument is a row of the tables, or an array of such rows."""
    functions = rows(
        connection,
        """
        SELECT p.oid::regprocedure::text, l.lanname::text,
               coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), p.prorettype = ANY (t.types)
          FROM (SELECT array_agg(y.oid) || array_agg(y.typarray) AS types
                  FROM pg_type y WHERE y.typrelid = ANY (%(oids)s::oid[])) AS t, pg_proc p
          JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname <> %(own)s
           AND (p.prorettype = ANY (t.types)
                OR p.proargtypes::oid[] && t.types OR p.proallargtypes && t.types)
         ORDER BY 1
        """,
        oids=oids,
        own=SCHEMA,
    )
    return [
        Function(name, language, code_of(text), returns_rows=returns)
        for name, language, text, returns in functions
    ]


def _functions_that_copy(connection: Connection, table: Table) -> list[Function]:
    """Functions whose text copies rows of the table with a star."""
    candidates = rows(
        connection,
        """
        SELECT p.oid::regprocedure::text, l.lanname::text, p.prosrc
          FROM pg_proc p
          JOIN pg_language l ON l.oid = p.prolang JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname <> ALL (ARRAY['pg_catalog', 'information_schema', %(own)s])
           AND position('*' IN p.prosrc) > 0 AND position(lower(%(table)s) IN lower(p.prosrc)) > 0
         ORDER BY 1
        """,
        table=table.name,
        own=SCHEMA,
    )
    functions = (Function(name, language, code_of(text)) for name, language, text in candidates)
    return [
        function
        for function in functions
        if copies_table(function.text, table.name)
        or copies_row(function.text, _row_variables(function.text, table.name))
    ]


def _row_variables(text: str, table: str) -> tuple[str, ...]:
    """The variables of a PL/pgSQL function that hold a row of the table."""
    of_table = rf'(?:"?\w+"?\s*\.\s*)?"?{re.escape(table)}"?'
    declared = rf"\b(\w+)\s+{of_table}\s*(?:%\s*rowtype\s*)?(?:;|:=)"
    keywords = {"from", "into", "update", "join", "table", "only"}
    names = re.findall(declared, text, re.IGNORECASE)
    return tuple({name for name in names if name.lower() not in keywords})


def whole_rows(connection: Connection, scope: Scope) -> Item:
    """Functions that copy whole rows into another table, whose columns do not change with them."""
    name = "functions that copy whole rows"
    copying = [
        f"{function} copies whole rows of {table.label}"
        for table in _reshaped(scope)
        for function in (
            *(
                function
                for function in _triggers_functions(connection, oids_of(connection, [table.label]))
                if copies_row(function.text, ("new", "old"))
                or any(copies_table(function.text, name) for name in function.transition_tables)
            ),
            *_functions_that_copy(connection, table),
        )
    ]
    return _item(
        name,
        copying,
        none=f"No function copies whole rows of {scope.tables}.",
        advice=(
            "List the columns to copy in each: the rollout adds and drops columns, and then its "
            "writes fail."
        ),
    )


def returned_rows(connection: Connection, scope: Scope) -> Item:
    """Functions that list the columns of a row that they return."""
    name = "functions that return rows"
    listing = [
        f"{function} returns rows of {table.label} and lists their columns"
        for table in _reshaped(scope)
        for function in _functions_of_rows(connection, oids_of(connection, [table.label]))
        if function.returns_rows and lists_columns(function)
    ]
    return _item(
        name,
        listing,
        none=f"No function that returns rows of {scope.tables} lists their columns.",
        advice=(
            "Give each a return type of its own (RETURNS TABLE), or select the whole row: the "
            "rollout adds and drops columns, and then calls fail."
        ),
    )


def dropped_columns(connection: Connection, scope: Scope) -> Item:
    """Functions of the tables' own triggers and rows that name a column which the phase drops."""
    name = "functions that name dropped columns"
    naming: list[str] = []
    for table in _reshaped(scope):
        oids = oids_of(connection, [table.label])
        for column in _dropped(scope, table):
            naming += [
                f"{function} names {table.label}.{column}"
                for function in _triggers_functions(connection, oids)
                if names_column(function, column)
            ]
            naming += [
                f"{function} takes or returns rows of {table.label} and names {column}"
                for function in _functions_of_rows(connection, oids)
                if re.search(rf'\.\s*"?{re.escape(column)}\b', function.text, re.IGNORECASE)
            ]
    return _item(
        name,
        naming,
        none=f"No function of a trigger or a row of {scope.tables} names a dropped column.",
        advice=(
            f"Make each use the new columns, or drop it: once phase {scope.phase} has dropped the "
            "column, every write or call that reaches it fails."
        ),
    )


def code_of(text: str) -> str:
    """A function's text without its comments."""
    return _COMMENT_OR_TEXT.sub(lambda match: match[1] or " ", text)


def copies_row(text: str, row_names: tuple[str, ...]) -> bool:
    """Whether a function writes all columns of a row of that name into a list of another length.

    A star within a call gives the row as one value, ``to_jsonb(NEW.*)``, and does no harm; nor does
    a comparison.
    """
    if not row_names:
        return False
    names = "|".join(map(re.escape, row_names))
    whole_row = re.compile(_WHOLE_ROW.format(rows=names), re.IGNORECASE)
    any_star = re.compile(_STAR.format(rows=names), re.IGNORECASE)
    for statement in _COMPARISON.sub("true", text).split(";"):
        writes = _WRITES.search(statement)
        if writes is None or not whole_row.search(writes[0]):
            continue
        for star in any_star.finditer(writes[0]):
            if star[0].startswith(")") and "populate_record" in writes[0].lower():
                continue
            if _gives_columns(writes[0], star.start()):
                return True
    return False


def _gives_columns(statement: str, at: int) -> bool:
    """Whether the star after a row gives its columns there, and not the row as one value."""
    depth = 0
    for place in range(at, -1, -1):
        if statement[place] == ")":
            depth += 1
        elif statement[place] == "(" and depth:
            depth -= 1
        elif statement[place] == "(":
            before, within = statement[:place], statement[place + 1 : at]
            if _LISTS.search(within) or _OPENS_LIST.search(before):
                return True
            return not _WORD.search(before)
    return True


def copies_table(text: str, table: str) -> bool:
    """Whether a text has ``INSERT INTO … SELECT * FROM table``."""
    star = re.compile(
        r'\binsert\s+into\b.*\bselect\s+(?:distinct\s+)?(?:[\w"]+\s*\.\s*)?\*\s+from\s+'
        rf'(?:only\s+)?(?:[\w"]+\s*\.\s*)?"?{re.escape(table)}\b',
        re.IGNORECASE | re.DOTALL,
    )
    return any(star.search(statement) for statement in text.split(";"))


def lists_columns(function: Function) -> bool:
    """Whether a function that returns rows makes them of columns, one by one."""
    text = re.sub(r"\(\s*\*\s*\)", "", function.text)
    if "*" in text:
        return False
    if function.language == "plpgsql":
        return bool(re.search(r"\breturn\s+(?:query\b|row\b|\()", text, re.IGNORECASE))
    if function.language != "sql":
        return False
    # One name alone is the whole row.
    whole = r'\bselect\s+(?:distinct\s+)?[\w"]+(?:\s*::\s*[\w".]+)?\s*(?:from\b|;|$)|\btable\s+\w'
    return not re.search(whole, text, re.IGNORECASE)


def names_column(function: Function, column: str) -> bool:
    """Whether a trigger's function reads or writes a column of its row."""
    if column in function.arguments:
        return True
    name = re.escape(column)
    # Languages other than PL/pgSQL name it by a text, and so does what reads a row as JSON.
    row = rf'\b(?:new|old)\s*\.\s*"?{name}\b'
    text = rf"->>?\s*'{name}'"
    if function.transition_tables:
        text = rf"\b{name}\b"
    elif function.language != "plpgsql":
        text = rf"""['"]{name}['"]|\b{name}\b"""
    return bool(re.search(f"{row}|{text}", function.text, re.IGNORECASE))


def _reshaped(scope: Scope) -> Iterator[Table]:
    """The plan's tables that have other columns once the phase is done."""
    before, after = _shapes(scope, scope.phase)
    for table in scope.plan.tables:
        if before.get(table.label, {}).keys() != after.get(table.label, {}).keys():
            yield table


def _dropped(scope: Scope, table: Table) -> list[str]:
    before, after = _shapes(scope, scope.phase)
    return [c for c in before.get(table.label, {}) if c not in after.get(table.label, {})]


def _shapes(scope: Scope, phase: int) -> tuple[Shape, Shape]:
    """The columns before a phase and after it."""
    plan = scope.declared or scope.plan
    return expected(plan, phase).shape, expected(plan, phase + 1).shape


def _item(name: str, problems: list[str], *, none: str, advice: str) -> Item:
    if not problems:
        return Item(name, "pass", none)
    return Item(name, "blocks", "; ".join(problems) + ".", advice)
