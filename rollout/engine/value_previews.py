"""What a conversion makes of a value, and what a decision means to who reads the legacy columns."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from rollout.engine.target import Connection, own
from rollout.engine.value_decisions import (
    UnconvertibleValue,
    functions,
    functions_exist,
    of_now,
    unconvertible_values,
)
from rollout.plan.conversions import Conversion, cast
from rollout.plan.extractions import Extract
from rollout.plan.plan import Plan
from rollout.plan.refusals import refusal
from rollout.plan.value_decisions import VALUE_DECISIONS, decisions_about

Texts = Mapping[str, str | None]


@dataclass(frozen=True)
class Example:
    """A row that converts: by column, the texts of its legacy values and of its new ones."""

    legacy: Texts
    new: Texts


@dataclass(frozen=True)
class Unit:
    """In what new columns count: a row that converts, and by column as declared its name now, if
    another."""

    names: Mapping[str, str]
    example: Example | None


def unit_of(
    connection: Connection, plan: Plan, conversion: Conversion, *, are_gone: bool = False
) -> Unit:
    """``are_gone`` says that no legacy column is left of which an example could be read."""
    now = of_now(connection, plan, conversion)[1]
    names = zip(conversion.decides, now.decides, strict=True)
    return Unit(
        {declared: name for declared, name in names if declared != name},
        None if are_gone else _example_of(connection, plan, conversion),
    )


def _example_of(connection: Connection, plan: Plan, conversion: Conversion) -> Example | None:
    """A row that converts, which shows the unit; None where none does or can be read."""
    now, current = of_now(connection, plan, conversion)
    if isinstance(current, Extract):
        return None
    values = list(current.values("t").values())
    try:
        with functions(connection, now, current):
            row = connection.execute(
                own(
                    sql.SQL(
                        "SELECT {legacy}, {values} FROM {table} AS t"
                        " WHERE CASE WHEN {reason} IS NULL THEN {first} IS NOT NULL END LIMIT 1"
                    ).format(
                        legacy=_texts(sql.Identifier("t", column) for column in current.reads),
                        values=_texts(values),
                        table=current.table.identifier,
                        reason=refusal(current, plan.name, "t"),
                        first=values[0],
                    )
                )
            ).fetchone()
    except psycopg.Error:
        return None
    if row is None:
        return None
    legacy, new = (
        dict(zip(names, texts, strict=True))
        for names, texts in zip((conversion.reads, conversion.added), row, strict=True)
    )
    return Example(legacy, new)


def as_legacy(
    connection: Connection, conversion: Conversion, decisions: Mapping[str, Texts]
) -> dict[str, Texts]:
    """By source, what the legacy columns hold once a row has the decided values.

    Empty where the way back reads other columns too, or refuses a value.
    """
    decides, read = conversion.decides, conversion.read_by_back
    if not decisions or not read or not set(read) <= set(decides):
        return {}
    new = {c: cast(sql.Identifier("d", c), column.type) for c, column in decides.items()}
    rows = sql.SQL(", ").join(
        _row([source, *map(texts.get, new)]) for source, texts in decisions.items()
    )
    try:
        with connection.transaction(force_rollback=True):
            read_back = connection.execute(
                own(
                    sql.SQL("SELECT d.source, {} FROM (VALUES {}) AS d (source, {})").format(
                        _texts(conversion.legacy_values("d", instead=new).values()),
                        rows,
                        sql.SQL(", ").join(map(sql.Identifier, new)),
                    )
                )
            ).fetchall()
    except psycopg.Error:
        return {}
    columns = conversion.ways_back
    return {source: dict(zip(columns, texts, strict=True)) for source, texts in read_back}


def _row(texts: Iterable[str | None]) -> sql.Composed:
    values = (sql.SQL("{}::text").format(sql.Literal(text)) for text in texts)
    return sql.SQL("({})").format(sql.SQL(", ").join(values))


def decided_values(
    connection: Connection, plan: Plan, conversion: Conversion
) -> list[UnconvertibleValue]:
    """The decisions alone, for when no legacy column is left whose values could be read."""
    rows = connection.execute(
        own(
            sql.SQL(
                "SELECT d.source, d.decided, d.reviewer, d.at FROM {} AS d WHERE {} ORDER BY 1"
            ).format(VALUE_DECISIONS, decisions_about(conversion, plan.name, "d"))
        )
    ).fetchall()
    return [
        UnconvertibleValue(source, 0, (), "", chosen, reviewer or "", at)
        for source, chosen, reviewer, at in rows
    ]


def values_with(
    connection: Connection, plan: Plan, conversion: Conversion, text: str, *, most: int
) -> list[str]:
    """Values that contain a text and do not convert, or are decided; the shortest first.

    Where phase 2 is not at work, or phase 4 is done, decisions alone: nothing is tried.
    """
    is_at_work = functions_exist(connection, plan, conversion)
    read = unconvertible_values if is_at_work else decided_values
    texts = {value.text for value in read(connection, plan, conversion)}
    form = text.casefold()
    matching = [value for value in texts if form in value.casefold()]
    return sorted(matching, key=lambda value: (len(value), value))[:most]


def values_or_decisions(
    connection: Connection, plan: Plan, conversion: Conversion
) -> tuple[list[UnconvertibleValue], bool]:
    """The values, and whether phase 4 has dropped their legacy columns: then decisions alone.

    Raises psycopg.Error.
    """
    try:
        return unconvertible_values(connection, plan, conversion), False
    except psycopg.errors.UndefinedColumn:
        if not (decisions := decided_values(connection, plan, conversion)):
            raise
        return decisions, True


def _texts(values: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL("ARRAY[{}]").format(
        sql.SQL(", ").join(sql.SQL("({})::text").format(value) for value in values)
    )
