"""The proof that a table's new columns are what its legacy columns say."""

from collections.abc import Mapping

from psycopg import sql

from rollout.plan import facts
from rollout.plan.conversions import Conversion, as_one
from rollout.plan.names import in_target
from rollout.plan.plan import Plan
from rollout.plan.proofs import Proof
from rollout.plan.refusals import refusal
from rollout.plan.table import Table
from rollout.plan.translations import Lookup
from rollout.plan.value_decisions import careful_values, decided


def texts_mean_their_rows(plan: Plan, table: Table) -> tuple[Proof, ...]:
    """Every row's new columns are what its legacy columns say, as an audit compares them.

    Nothing for a table whose columns only a function computes: no SQL tells one of them wrong.
    """
    own = plan.translations_of(table)
    if not own:
        return ()
    of_lookups = [_how_lookup_differs(plan, t) for t in own if isinstance(t, Lookup)]
    conversions = plan.conversions_of(table)
    differs = sql.SQL("nullif(concat_ws('; ', {}), '')")
    plain = [*of_lookups, *(d for t in conversions for d in _how_values_differ(t.values("t")))]
    careful = [*of_lookups, *(_how_values_or_none_differ(plan, t) for t in conversions)]
    if any(t.cuts for t in conversions):
        plain = careful
    return (
        Proof(
            table=table,
            differs=differs.format(sql.SQL(", ").join(plain)),
            careful=differs.format(sql.SQL(", ").join(careful)),
            exact=facts.TRUE,
            outcome="meant",
        ),
    )


def _how_lookup_differs(plan: Plan, lookup: Lookup) -> sql.Composable:
    """SQL over row ``t``: what its text and its lookup row are; null where they mean the same."""
    return sql.SQL(
        "(SELECT CASE WHEN m.legacy IS NULL THEN format('%s %L is not mapped', {legacy}, {text})"
        " WHEN {column} IS DISTINCT FROM m.lookup_id"
        " THEN format('%s %L means %L, %s is %L', {legacy}, {text}, should.name, {name},"
        " coalesce(has.name, {column}::text))"
        " WHEN {column} IS NOT NULL AND has.id IS NULL"
        " THEN format('%s is %L, which is no row of %s', {name}, {column}, {lookup_label}) END"
        " FROM (SELECT) AS this LEFT JOIN {mapping} AS m ON m.legacy = {key}"
        " LEFT JOIN {lookup} AS should ON should.id = m.lookup_id"
        " LEFT JOIN {lookup} AS has ON has.id = {column})"
    ).format(
        legacy=sql.Literal(lookup.legacy),
        text=sql.Identifier("t", lookup.legacy),
        column=sql.Identifier("t", lookup.column),
        name=sql.Literal(lookup.column),
        lookup_label=sql.Literal(lookup.lookup_label),
        mapping=in_target(lookup.mapping_name(plan.name)),
        key=lookup.legacy_text("t"),
        lookup=lookup.lookup_sql,
    )


def _how_values_differ(values: Mapping[str, sql.Composable]) -> list[sql.Composable]:
    return [
        sql.SQL(
            "CASE WHEN {column} IS DISTINCT FROM {value}"
            " THEN format('%s is %L instead of %L', {name}, {column}, {value}) END"
        ).format(column=sql.Identifier("t", column), value=value, name=sql.Literal(column))
        for column, value in values.items()
    ]


def _how_values_or_none_differ(plan: Plan, conversion: Conversion) -> sql.Composable:
    """The same where a row may not convert: it holds what people decided, else nothing."""
    columns = [sql.Identifier("t", column) for column in conversion.added]
    known = refusal(conversion, plan.name, "t") + sql.SQL(" IS NULL")
    if conversion.asks_people:
        known += sql.SQL(" OR {} IS NOT NULL").format(decided(conversion, plan.name, "t"))
    differ = _how_values_differ(careful_values(conversion, plan.name, "t"))
    return sql.SQL(
        "CASE WHEN {known} THEN {differs} WHEN {held}"
        " THEN format('%s is %L, and has no value: %s', {name}, {column}, {reason}) END"
    ).format(
        known=known,
        reason=refusal(conversion, plan.name, "t"),
        differs=differ[0]
        if len(differ) == 1
        else sql.SQL("nullif(concat_ws('; ', {}), '')").format(sql.SQL(", ").join(differ)),
        held=sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(c) for c in columns),
        column=as_one(columns),
        name=sql.Literal(conversion.name),
    )
