"""Checks of single rows by the rules of an audit."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from rollout.engine import quarantine
from rollout.engine.audit.categories import RowMismatch
from rollout.engine.audit.readiness import refusal_to_audit
from rollout.engine.audit.rows import is_one_of, mismatches_of
from rollout.engine.audit.scan import TableScan
from rollout.engine.audit.states import texts
from rollout.engine.catalog import columns_of
from rollout.engine.kept_names import with_names_of_now
from rollout.engine.target import Connection, own
from rollout.plan.plan import Plan
from rollout.plan.table import Table

Key = tuple[str, ...]


@dataclass(frozen=True)
class RowsNow:
    """Some rows at one moment.

    ``mismatches`` are as an audit would report them. ``texts`` holds what each lookup column of a
    row says by its lookup row's name; rows that are gone are missing there. ``mapped`` are the rows
    of which a lookup row says something else than the legacy text, because the mapping has it so;
    ``joined`` those whose lookup row such texts mean as well: a search for one of the texts
    finds them too.
    """

    mismatches: list[RowMismatch]
    texts: dict[Key, dict[str, str | None]]
    mapped: frozenset[Key] = frozenset()
    joined: frozenset[Key] = frozenset()


def check_rows(
    connection: Connection, plan: Plan, table: Table, keys: Collection[Sequence[str]]
) -> RowsNow:
    """The rows with these keys, all in one snapshot; nothing if there is nothing to compare."""
    plan = with_names_of_now(connection, plan)
    table = plan.table_like(table)
    columns = columns_of(connection, plan, table)
    if not keys or refusal_to_audit(connection, plan, table, columns):
        return RowsNow([], {})
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        scan = TableScan(connection, plan, table, columns, refusing=True)
        condition = is_one_of(scan, list(keys))
        rows = connection.execute(scan.query(condition)).fetchall()
        mismatches = list(mismatches_of(connection, scan, [row[:-1] for row in rows], condition))
        return RowsNow(mismatches, *_texts(connection, scan, keys))


def keys_of_pair(
    connection: Connection,
    plan: Plan,
    table: Table,
    column: str,
    legacy: str | None,
    new: str | None,
    *,
    at_most: int,
) -> list[str]:
    """Some rows whose legacy text and lookup row are these: their keys, parts joined by a comma.

    In no order, so that the first that are met are enough. Raises psycopg.Error.
    """
    plan = with_names_of_now(connection, plan)
    table = plan.table_like(table)
    columns = columns_of(connection, plan, table)
    if refusal_to_audit(connection, plan, table, columns):
        return []
    scan = TableScan(connection, plan, table, columns)
    pairs = next(
        (p for p in scan.lookups if p.lookup.column == column),
        None,
    )
    if pairs is None:
        return []
    ids = [None] if new is None else [id_ for id_, name in pairs.names.items() if name == new]
    query = sql.SQL(
        "SELECT {key} FROM {table} WHERE {legacy} IS NOT DISTINCT FROM {text} AND ({same})"
        " LIMIT {most}"
    ).format(
        key=quarantine.key_of(scan.table),
        table=scan.source(),
        legacy=sql.SQL("{}::text").format(sql.Identifier("t", pairs.lookup.legacy)),
        text=sql.Literal(legacy),
        same=sql.SQL(" OR ").join(
            sql.SQL("{} IS NOT DISTINCT FROM {}").format(sql.Identifier("t", column), id_)
            for id_ in ids
        )
        if ids
        else sql.SQL("false"),
        most=at_most,
    )
    return [",".join(key) for (key,) in connection.execute(own(query))]


def _texts(
    connection: Connection, scan: TableScan, keys: Collection[Sequence[str]]
) -> tuple[dict[Key, dict[str, str | None]], frozenset[Key], frozenset[Key]]:
    names = [pairs.lookup.column for pairs in scan.lookups]
    texts: dict[Key, dict[str, str | None]] = {}
    mapped, joined = set(), set()
    for key in keys:
        for *values, _ in connection.execute(scan.query(is_one_of(scan, [list(key)]))):
            cells = scan.classified(tuple(values))
            texts[tuple(key)] = {name: new for name, (_, new, _) in zip(names, cells, strict=False)}
            if any(category == "ok_mapped" for _, _, category in cells):
                mapped.add(tuple(key))
            row = dict(zip(scan.grouped, values, strict=False))
            if any(pairs.values(row)[1] in pairs.joined for pairs in scan.lookups):
                joined.add(tuple(key))
    return texts, frozenset(mapped), frozenset(joined)


@dataclass(frozen=True)
class CellNow:
    """What a row holds now in one translation; of several columns their values as one text."""

    column: str
    legacy: str | None
    new: str | None
    category: str
    has_legacy: bool = True
    """Whether the table has the legacy columns still, or a lookup's archive their text."""


def cells_of_row(
    connection: Connection, plan: Plan, table: Table, key: Sequence[str]
) -> list[CellNow]:
    """The values of a row now, by the rules of an audit; empty if it is deleted."""
    plan = with_names_of_now(connection, plan)
    table = plan.table_like(table)
    columns = columns_of(connection, plan, table)
    if refusal_to_audit(connection, plan, table, columns):
        return []
    scan = TableScan(connection, plan, table, columns, refusing=True)
    condition = is_one_of(scan, [list(key)])
    row = connection.execute(scan.query(condition)).fetchone()
    if row is None:
        return []
    cells = scan.classified(tuple(row[:-1]))
    lookups = [
        CellNow(pairs.lookup.column, *cell)
        for pairs, cell in zip(scan.lookups, cells, strict=False)
    ]
    categories = [category for _, _, category in cells[len(lookups) :]]
    return lookups + _cells_of_questions(connection, scan, condition, categories)


def _cells_of_questions(
    connection: Connection, scan: TableScan, condition: sql.Composable, categories: Sequence[str]
) -> list[CellNow]:
    """What the row of a condition holds in each conversion and computed translation."""
    if not categories:
        return []
    read = [
        [column for column in question.translation.reads if column in scan.columns]
        for question in scan.questions
    ]
    values = [
        texts(sql.Identifier("t", column) for column in columns) if columns else sql.SQL("NULL")
        for question, legacy in zip(scan.questions, read, strict=True)
        for columns in (legacy, question.translation.added)
    ]
    row = connection.execute(
        sql.SQL("SELECT {} FROM {} WHERE {}").format(
            sql.SQL(", ").join(values), scan.source(), condition
        )
    ).fetchone()
    if row is None:
        return []
    return [
        CellNow(question.column, row[2 * n], row[2 * n + 1], category, has_legacy=bool(read[n]))
        for n, (question, category) in enumerate(zip(scan.questions, categories, strict=True))
    ]


def last_written(connection: Connection, table: Table, key: Sequence[str]) -> datetime | None:
    """When the row was last written, where the server keeps the times of commits."""
    setting = connection.execute("SHOW track_commit_timestamp").fetchone()
    if not setting or setting[0] != "on":
        return None
    row = connection.execute(
        sql.SQL("SELECT pg_xact_commit_timestamp(xmin) FROM {} AS t WHERE {}").format(
            table.identifier, quarantine.is_row(table, key)
        )
    ).fetchone()
    return row[0] if row else None
