"""The rows behind an audit's counts: those of a mismatching cell, one by one."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from psycopg import sql

from rollout.engine.audit.categories import MATCHED, MISMATCHED, RowMismatch
from rollout.engine.audit.lookup_pairs import LookupPairs
from rollout.engine.audit.scan import Combination, Question, TableScan
from rollout.engine.audit.states import texts
from rollout.engine.quarantine import key_of
from rollout.engine.target import Connection
from rollout.plan.translations import Computed

Pair = tuple[str | None, int | None]
FETCH_SIZE = 2_000


def mismatches_of(
    connection: Connection,
    scan: TableScan,
    combinations: Sequence[Combination],
    condition: sql.Composable,
) -> Iterator[RowMismatch]:
    """Every mismatching row of a table, streamed, in each translation in which it mismatches.

    ``combinations`` are those that the scan found; in a transaction its snapshot is the same one.
    """
    for of_lookup in scan.lookups:
        pairs = {
            of_lookup.values(dict(zip(scan.grouped, values, strict=False)))
            for values in combinations
        }
        bad = [pair for pair in pairs if of_lookup.classify(*pair) in MISMATCHED]
        if bad:
            yield from _of_lookup(connection, scan, of_lookup, bad, condition)
    for number, question in enumerate(scan.questions):
        states = {values[len(scan.grouped) + number] for values in combinations}
        if not states <= set(MATCHED):
            yield from _of_question(connection, scan, question, condition)


def _of_lookup(
    connection: Connection,
    scan: TableScan,
    of_lookup: LookupPairs,
    bad: Sequence[Pair],
    condition: sql.Composable,
) -> Iterator[RowMismatch]:
    legacy = sql.SQL("{}::text").format(sql.Identifier("t", of_lookup.lookup.legacy))
    new = sql.Identifier("t", of_lookup.lookup.column)
    # A pair as a text tells NULL from an empty one, and many are looked up by hash.
    query = sql.SQL(
        "SELECT {key}, {legacy}, {new} FROM {table} WHERE {condition} AND"
        " ROW({legacy}, {new})::text = ANY (ARRAY(SELECT ROW(legacy, new)::text"
        " FROM unnest({texts}::text[], {ids}::bigint[]) AS bad (legacy, new)))"
    ).format(
        key=key_of(scan.table),
        legacy=legacy,
        new=new,
        table=scan.source(),
        condition=condition,
        texts=sql.Literal([text for text, _ in bad]),
        ids=sql.Literal([id_ for _, id_ in bad]),
    )
    for key, text, value in stream(connection, query):
        yield RowMismatch(
            table=scan.table.label,
            key=",".join(key),
            key_parts=key,
            column=of_lookup.lookup.column,
            category=of_lookup.classify(text, value),
            legacy=text,
            expected=of_lookup.expected_name(text),
            actual=of_lookup.new_name(value),
        )


def _of_question(
    connection: Connection, scan: TableScan, question: Question, condition: sql.Composable
) -> Iterator[RowMismatch]:
    translation = question.translation
    if isinstance(translation, Computed):
        expected: sql.Composable = sql.SQL("NULL")
        actual = texts_of(translation.columns)
    else:
        expected = scan.expected_text(translation)
        actual = texts(sql.Identifier("t", column) for column in translation.added)
    query = sql.SQL(
        "SELECT {key}, {state}, {expected}, {actual}, {reads} FROM {table}{joins}"
        " WHERE {condition} AND {state} NOT IN ({matched})"
    ).format(
        key=key_of(scan.table),
        state=question.state,
        expected=expected,
        actual=actual,
        reads=texts_of(translation.reads),
        table=scan.source(),
        joins=scan.all_joins,
        condition=condition,
        matched=sql.SQL(", ").join(map(sql.Literal, MATCHED)),
    )
    for key, category, wanted, actual_text, read in stream(connection, query):
        yield RowMismatch(
            table=scan.table.label,
            key=",".join(key),
            key_parts=key,
            column=question.column,
            category=category,
            legacy=read or None,
            expected=wanted,
            actual=actual_text or None,
        )


def is_one_of(scan: TableScan, keys: Sequence[Sequence[str]]) -> sql.Composable:
    """SQL condition: row ``t`` has one of the keys. Its index is used: each text takes the type."""
    columns = scan.table.key
    if len(columns) == 1:
        return sql.SQL("{} IN ({})").format(
            sql.Identifier("t", columns[0]),
            sql.SQL(", ").join(sql.Literal(key[0]) for key in keys),
        )
    return sql.SQL("({}) IN ({})").format(
        scan.table.key_of("t"),
        sql.SQL(", ").join(
            sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, key))) for key in keys
        ),
    )


def stream(connection: Connection, query: sql.Composed) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, without ever holding all of them; in a transaction."""
    with connection.transaction(), connection.cursor(name="rollout audit") as cursor:
        cursor.itersize = FETCH_SIZE
        cursor.execute(query)
        yield from cursor


def texts_of(columns: Collection[str]) -> sql.Composable:
    """SQL of the values of some columns of row ``t`` as one text."""
    if not columns:
        return sql.SQL("NULL")
    return sql.SQL("concat_ws(', ', {})").format(
        sql.SQL(", ").join(sql.Identifier("t", column) for column in columns)
    )
