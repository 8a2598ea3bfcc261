"""Questions to the data whose answers would make a step fail, or take something with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from rollout.plan.extractions import Extract
from rollout.plan.facts import is_fed
from rollout.plan.names import code
from rollout.plan.table import Table
from rollout.plan.translations import Lookup

# Maximum of rows counted: one is enough to stop a step.
MAX_COUNTED = 1000
# Of these, the rows that are listed: enough to see what they have in common.
MAX_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """A query of one row: how many there are, counted up to ``MAX_COUNTED``, and the first few.

    ``finding`` is a sentence with ``{count}`` in it; where none are there, ``none`` is.
    ``reads`` is the label of a table that the query reads in full, empty where it reads none.
    One that ``stays`` is not changed by any phase or release: it blocks phase 0 already. One that
    ``needs_backfill`` says nothing before phase 2 is done.
    """

    name: str
    sql: sql.Composed
    finding: str
    none: str
    advice: str
    reads: str = ""
    blocks: bool = True
    stays: bool = False
    needs_backfill: bool = False


def _rows(table: Table, key: sql.Composable, source: sql.Composable) -> sql.Composed:
    """Count the rows of a FROM and WHERE, and name the first of them by their keys."""
    return sql.SQL(
        "SELECT count(*), array_to_string((array_agg(k))[1:{listed}], ', ')"
        " FROM (SELECT concat_ws(' ', {key}) AS k FROM {table} AS t {source} LIMIT {most}) AS found"
    ).format(
        key=key,
        table=table.identifier,
        source=source,
        listed=sql.Literal(MAX_LISTED),
        most=sql.Literal(MAX_COUNTED),
    )


def missing_values(table: Table, column: str) -> Hazard:
    """Rows with a null in a column that becomes NOT NULL."""
    name = f"{table.label}.{column}"
    return Hazard(
        name=f"nulls in {name}",
        sql=_rows(
            table,
            table.key_of("t"),
            sql.SQL("WHERE t.{} IS NULL").format(sql.Identifier(column)),
        ),
        finding=f"{{count}} rows of {table.label} have NULL in {column}.",
        none=f"No row of {table.label} has NULL in {column}.",
        advice="Run an audit and repair these rows first.",
        reads=table.label,
        needs_backfill=True,
    )


def breaking(table: Table, condition: sql.Composable, words: str) -> Hazard:
    """Rows that a CHECK would refuse: for them its condition is false, rather than unknown."""
    return Hazard(
        name=f"rows of {table.label} against {words}",
        sql=_rows(table, table.key_of("t"), sql.SQL("WHERE NOT {}").format(condition)),
        finding=f"{{count}} rows of {table.label} break the condition {words}.",
        none=f"No row of {table.label} breaks the condition {words}.",
        advice="Correct these rows first, or change the condition.",
        reads=table.label,
    )


def generated(table: Table, columns: Sequence[str]) -> Hazard:
    """Columns that the database computes: a trigger can neither write nor yet read them."""
    return Hazard(
        name=f"generated columns of {table.label}",
        sql=sql.SQL(
            "SELECT count(*), string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute"
            " WHERE attrelid = {}::regclass AND attname = ANY ({}) AND attgenerated <> ''"
        ).format(sql.Literal(table.identifier.as_string()), sql.Literal(list(columns))),
        finding=f"{{count}} columns that translations of {table.label} read are generated.",
        none=f"No column that translations of {table.label} read is generated.",
        advice="Reference the source columns instead: triggers run before generated columns.",
        stays=True,
    )


def orphans(lookup: Lookup | Extract) -> Hazard:
    """Rows that point to a row that is not there."""
    table = lookup.table
    return Hazard(
        name=f"orphans in {table.label}.{lookup.column}",
        sql=_rows(
            table,
            table.key_of("t"),
            sql.SQL(
                "WHERE t.{} IS NOT NULL AND NOT EXISTS (SELECT FROM {} AS l WHERE l.id = t.{})"
            ).format(
                sql.Identifier(lookup.column), lookup.lookup_sql, sql.Identifier(lookup.column)
            ),
        ),
        finding=(
            f"{{count}} rows of {table.label} have orphaned references in {lookup.column}: no "
            f"such row of {lookup.lookup_label}."
        ),
        none=f"No orphaned references in {table.label}.{lookup.column}.",
        advice="Correct those rows first: a full audit lists them as orphans.",
        reads=table.label,
    )


def types_differ(lookup: Lookup | Extract) -> Hazard:
    """A foreign key between columns of different types or collations."""
    both = f"{lookup.table.label}.{lookup.column} and {lookup.lookup_label}.id"
    return Hazard(
        name=f"types of {both}",
        sql=sql.SQL(
            "SELECT count(*), min(format_type(c.atttypid, c.atttypmod) || ' and '"
            " || format_type(k.atttypid, k.atttypmod)) FROM pg_attribute c, pg_attribute k"
            " WHERE c.attrelid = {}::regclass AND c.attname = {}"
            " AND k.attrelid = {}::regclass AND k.attname = 'id'"
            " AND (c.atttypid, c.atttypmod, c.attcollation)"
            " <> (k.atttypid, k.atttypmod, k.attcollation)"
        ).format(
            sql.Literal(lookup.table.identifier.as_string()),
            sql.Literal(lookup.column),
            sql.Literal(lookup.lookup_sql.as_string()),
        ),
        finding=f"{both} differ in type or collation.",
        none=f"{both} have one type and collation.",
        advice="Align the types in the plan, roll phase 1 back and start it again.",
    )


def duplicates_of(table: Table, columns: Sequence[str]) -> Hazard:
    """Values that appear more than once, where a unique index will allow one: each with rows."""
    listed = ", ".join(columns)
    names = sql.SQL(", ").join(sql.Identifier("t", column) for column in columns)
    present = sql.SQL(" AND ").join(
        sql.SQL("{} IS NOT NULL").format(sql.Identifier("t", column)) for column in columns
    )
    return Hazard(
        name=f"duplicates of {table.label} ({listed})",
        sql=_rows(
            table,
            # Two of the rows, whatever their number: all keys of one value may be a whole table.
            sql.SQL("{}, format('(%s rows: %s … %s)', count(*), min({key}), max({key}))").format(
                names, key=sql.SQL("concat_ws(' ', {})").format(table.key_of("t"))
            ),
            sql.SQL("WHERE {} GROUP BY {} HAVING count(*) > 1").format(present, names),
        ),
        finding=f"{{count}} duplicate values in {table.label} ({listed}).",
        none=f"No duplicate values in {table.label} ({listed}).",
        advice="Remove the duplicates first.",
        reads=table.label,
    )


def duplicates_in(view: str, query: str, key: Sequence[str]) -> Hazard:
    """Rows of a view to come that its unique index could not tell apart."""
    listed = ", ".join(key)
    names = sql.SQL(", ").join(sql.Identifier("q", column) for column in key)
    return Hazard(
        name=f"duplicates of {view} ({listed})",
        sql=sql.SQL(
            "SELECT count(*), array_to_string((array_agg(k))[1:3], ', ')"
            " FROM (SELECT concat_ws(' ', {names}) AS k FROM ({query}) AS q"
            " GROUP BY {names} HAVING count(*) > 1 LIMIT {most}) AS found"
        ).format(names=names, query=code(query), most=sql.Literal(MAX_COUNTED)),
        finding=f"{{count}} rows of {view} would have a duplicate {listed}.",
        none=f"No rows of {view} would have a duplicate {listed}.",
        advice=f"Add GROUP BY {listed} to the view's query.",
    )


def partitions_of(table: Table) -> Hazard:
    """Whether a table has partitions as the plan says: their indexes are built otherwise."""
    are = "no partitions" if table.partitioned else "partitions"
    return Hazard(
        name=f"partitions of {table.label}",
        sql=sql.SQL(
            "SELECT count(*), NULL::text FROM pg_class WHERE oid = {} AND (relkind = 'p') <> {}"
        ).format(table.regclass, sql.Literal(table.partitioned)),
        finding=f"{table.label} has {are}, which does not match the plan.",
        none=f"The partitioning of {table.label} matches the plan.",
        advice=f"Set partitioned={not table.partitioned} in the plan's Table.",
        stays=True,
    )


def fed_around(table: Table, names: Sequence[str]) -> Hazard:
    """A subscription that was made after the triggers: its rows go around them."""
    enable = ", ".join(
        f"ENABLE ALWAYS TRIGGER {sql.Identifier(name).as_string()}" for name in names
    )
    return Hazard(
        name=f"subscriptions to {table.label}",
        sql=sql.SQL(
            "SELECT count(*), string_agg(tgname, ', ' ORDER BY tgname) FROM pg_trigger"
            " WHERE tgrelid = {} AND tgname = ANY ({}) AND tgenabled <> 'A' AND {}"
        ).format(table.regclass, sql.Literal(list(names)), is_fed(table)),
        finding=(
            f"A subscription replicates rows of {table.label}, and {{count}} triggers of the "
            "rollout do not fire for them."
        ),
        none=f"No subscription replicates rows of {table.label} without its triggers.",
        advice=f"ALTER TABLE {table.identifier.as_string()} {enable}, then audit.",
    )


def owned_by_others(table: sql.Identifier, label: str) -> Hazard:
    """A table that the engine's role may not alter."""
    return Hazard(
        name=f"owner of the table {label}",
        sql=sql.SQL(
            "SELECT count(*), min(pg_get_userbyid(relowner)) FROM pg_class"
            " WHERE oid = to_regclass({}) AND relkind IN ('r', 'p')"
            " AND NOT pg_has_role(relowner, 'USAGE')"
        ).format(sql.Literal(table.as_string())),
        finding=f"{{count}} table belongs to another role than the engine's: {label}.",
        none=f"The engine's role may alter {label}.",
        advice="Make the engine's role a member of the owner.",
        stays=True,
    )


def name_taken(
    wanted: sql.Identifier, label: str, *, own: sql.Composable, name: str, advice: str
) -> Hazard:
    """A relation that has the name a step gives; ``own`` is SQL of whether it is the step's."""
    return Hazard(
        name=name,
        sql=sql.SQL(
            "SELECT count(*), min(pg_describe_object('pg_class'::regclass, oid, 0))"
            " FROM pg_class WHERE oid = to_regclass({}) AND NOT {}"
        ).format(sql.Literal(wanted.as_string()), own),
        finding=f"{{count}} relation has the name {label} already.",
        none=f"No other relation has the name {label}.",
        advice=advice,
        stays=True,
    )


def published(table: sql.Identifier, label: str, *, advice: str) -> Hazard:
    """A table that publications name: its subscribers know it by its name."""
    return Hazard(
        name=f"publications of the table {label}",
        sql=sql.SQL(
            "SELECT count(*), string_agg(p.pubname, ', ' ORDER BY p.pubname)"
            " FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid"
            " WHERE r.prrelid = to_regclass({})"
        ).format(sql.Literal(table.as_string())),
        finding=(
            f"{{count}} publications have the table {label}: subscribers know it by its name."
        ),
        none=f"No publication names the table {label}.",
        advice=advice,
    )
