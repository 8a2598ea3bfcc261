"""Questions to the data whose answers would make a step fail, or take something with it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from rollout.plan.facts import is_fed
from rollout.plan.names import SCHEMA, code
from rollout.plan.table import Table

if TYPE_CHECKING:
    from rollout.plan.translations import Lookup

CONSTANT_TEXT = r"^('([^']|'')*'|NULL)::[\w .\"]+(\(\d+\))?$"
"""A regular expression: a default that is a constant text, as PostgreSQL prints it."""

MOST = 1000
"""No more rows than that are counted: one is enough to stop a step."""


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """A query of one row: how many there are, counted up to ``MOST``, and a text of the first few.

    ``found`` is a sentence with ``{count}`` in it; with none found, ``none`` is said instead.
    ``reads`` is the label of a table that the query reads in full, empty where it reads none.
    One that ``stays`` is not changed by any phase or release: it blocks phase 0 already.
    """

    name: str
    sql: sql.Composed
    found: str
    none: str
    advice: str
    reads: str = ""
    blocks: bool = True
    stays: bool = False


def _rows(table: Table, key: sql.Composable, source: sql.Composable) -> sql.Composed:
    """Count the rows of a FROM and WHERE, and name the first three by their keys."""
    return sql.SQL(
        "SELECT count(*), array_to_string((array_agg(k))[1:3], ', ')"
        " FROM (SELECT concat_ws(' ', {}) AS k FROM {} AS t {} LIMIT {}) AS found"
    ).format(key, table.identifier, source, sql.Literal(MOST))


def missing_values(table: Table, column: str) -> Hazard:
    """Rows in which a column that is to be NOT NULL is null."""
    name = f"{table.label}.{column}"
    return Hazard(
        name=f"nulls in {name}",
        sql=_rows(
            table,
            table.key_of("t"),
            sql.SQL("WHERE t.{} IS NULL").format(sql.Identifier(column)),
        ),
        found=f"{{count}} rows of {table.label} have no {column}.",
        none=f"Every row of {table.label} has a {column}.",
        advice="Fill them in first: audit, correct the rows, then look again.",
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
        found=f"{{count}} columns that translations of {table.label} read are generated.",
        none=f"No column that translations of {table.label} read is generated.",
        advice="Let the plan read what they are generated from: triggers run before them.",
        stays=True,
    )


def orphans(lookup: "Lookup") -> Hazard:
    """Rows that point to a lookup row that is not there."""
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
        found=(
            f"{{count}} rows of {table.label} point to no row of {lookup.lookup_label} "
            f"by {lookup.column}."
        ),
        none=f"Every {lookup.column} of {table.label} is a row of {lookup.lookup_label}.",
        advice="Correct those rows first: a full audit lists them as orphans.",
        reads=table.label,
    )


def types_differ(lookup: "Lookup") -> Hazard:
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
        found=f"{both} differ in type or collation.",
        none=f"{both} have one type and collation.",
        advice="Make them one type in the plan, roll phase 1 back and start it again.",
    )


def duplicates_of(table: Table, columns: Sequence[str]) -> Hazard:
    """Values of which a unique index could take one only."""
    listed = ", ".join(columns)
    names = sql.SQL(", ").join(sql.Identifier("t", column) for column in columns)
    present = sql.SQL(" AND ").join(
        sql.SQL("{} IS NOT NULL").format(sql.Identifier("t", column)) for column in columns
    )
    return Hazard(
        name=f"duplicates of {table.label} ({listed})",
        sql=_rows(
            table,
            names,
            sql.SQL("WHERE {} GROUP BY {} HAVING count(*) > 1").format(present, names),
        ),
        found=f"{{count}} values of {table.label} ({listed}) are there more than once.",
        none=f"No value of {table.label} ({listed}) is there twice.",
        advice="Decide which rows are to stay, then look again.",
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
        ).format(names=names, query=code(query), most=sql.Literal(MOST)),
        found=f"{{count}} rows of {view} would have the same {listed}.",
        none=f"No two rows of {view} would have the same {listed}.",
        advice="Group the view's query by its key.",
    )


def partitions_of(table: Table) -> Hazard:
    """Whether a table has partitions as the plan says: their indexes are built otherwise."""
    are = "no partitions" if table.partitioned else "partitions"
    return Hazard(
        name=f"partitions of {table.label}",
        sql=sql.SQL(
            "SELECT count(*), NULL::text FROM pg_class WHERE oid = {} AND (relkind = 'p') <> {}"
        ).format(table.regclass, sql.Literal(table.partitioned)),
        found=f"{table.label} has {are}, and the plan says otherwise.",
        none=f"{table.label} has partitions or none, as the plan says.",
        advice=f"Write partitioned={not table.partitioned} into the plan's Table.",
        stays=True,
    )


_OF_COLUMNS = (
    "FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
    " WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = {table}::regclass"
    " AND a.attname = ANY ({columns})"
)


def depends_on(table: Table, columns: Sequence[str], *, besides: Sequence[str]) -> Hazard:
    """Views, functions, policies and the like that keep a column from being dropped."""
    listed = ", ".join(columns)
    return Hazard(
        name=f"what needs {table.label} ({listed})",
        sql=sql.SQL(
            "SELECT count(*), string_agg(what, ', ' ORDER BY what) FROM ("
            "SELECT DISTINCT CASE WHEN d.classid = 'pg_rewrite'::regclass"
            " THEN pg_describe_object('pg_class'::regclass, r.ev_class, 0)"
            " ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END AS what {of_columns}"
            " AND d.deptype = 'n' AND NOT (d.classid = 'pg_trigger'::regclass"
            " AND EXISTS (SELECT FROM pg_trigger g WHERE g.oid = d.objid"
            " AND g.tgname = ANY ({besides})))"
            # A CHECK goes along with any of its columns.
            " AND NOT (d.classid = 'pg_constraint'::regclass"
            " AND EXISTS (SELECT FROM pg_constraint k WHERE k.oid = d.objid AND k.contype = 'c'"
            " AND k.conrelid = d.refobjid))) AS found"
        ).format(
            of_columns=sql.SQL(
                _OF_COLUMNS.replace(
                    " WHERE ",
                    " LEFT JOIN pg_rewrite r ON r.oid = d.objid"
                    " AND d.classid = 'pg_rewrite'::regclass WHERE ",
                )
            ).format(
                table=sql.Literal(table.identifier.as_string()), columns=sql.Literal(list(columns))
            ),
            besides=sql.Literal(list(besides)),
        ),
        found=f"{{count}} objects need the columns {listed} of {table.label}, which are dropped.",
        none=f"Nothing else in the database needs the columns {listed} of {table.label}.",
        advice="Drop or change them first: the columns are never dropped with CASCADE.",
    )


def replica_identity(table: Table, columns: Sequence[str]) -> Hazard:
    """An index by which logical replication tells rows, over columns that go, or that goes."""
    listed = ", ".join(columns)
    return Hazard(
        name=f"replica identity of {table.label} ({listed})",
        sql=sql.SQL(
            "SELECT count(*), string_agg(i.relname, ', ' ORDER BY i.relname)"
            " FROM (SELECT {table} AS oid"
            " UNION SELECT relid FROM pg_partition_tree({table})) AS own"
            " JOIN pg_index AS x ON x.indrelid = own.oid AND x.indisreplident"
            " JOIN pg_class AS i ON i.oid = x.indexrelid"
            " WHERE EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = x.indrelid"
            " AND a.attnum = ANY (x.indkey) AND a.attname = ANY ({columns}))"
        ).format(table=table.regclass, columns=sql.Literal(list(columns))),
        found=(
            f"{{count}} indexes over {listed} of {table.label} are its replica identity. Once they "
            "are dropped, a publication refuses every UPDATE and DELETE."
        ),
        none=f"The replica identity of {table.label} has none of {listed}.",
        advice=(
            f"ALTER TABLE {table.identifier.as_string()} REPLICA IDENTITY DEFAULT, or USING INDEX "
            "with another one."
        ),
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
        found=(
            f"A subscription brings rows of {table.label}, and {{count}} triggers of the rollout "
            "do not fire for them."
        ),
        none=f"No subscription brings rows of {table.label} around the triggers.",
        advice=f"ALTER TABLE {table.identifier.as_string()} {enable}, then audit.",
    )


def no_longer_unique(
    table: Table, columns: Sequence[str], successors: Sequence[Sequence[str]]
) -> Hazard:
    """Unique indexes over columns that go, and that no unique index over the new columns follows.

    ``successors`` are those indexes' columns, each by the legacy column that it stands for.
    """
    listed = ", ".join(columns)
    return Hazard(
        name=f"uniqueness of {table.label} ({listed})",
        sql=sql.SQL(
            "SELECT count(*), string_agg(i.relname || ' (' || array_to_string(needs.names, ', ')"
            " || ')', ', ' ORDER BY i.relname)"
            " FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid"
            # A constraint stands between its columns and its index.
            " CROSS JOIN LATERAL (SELECT array_agg(DISTINCT a.attname::text) AS names"
            " FROM pg_depend AS d JOIN pg_attribute AS a"
            " ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
            " WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = x.indrelid"
            " AND (d.objid = x.indexrelid OR d.objid IN (SELECT k.oid FROM pg_constraint AS k"
            " WHERE k.conindid = x.indexrelid AND k.conrelid = x.indrelid))) AS needs"
            " WHERE x.indrelid = {table} AND (x.indisunique OR x.indisexclusion)"
            " AND needs.names && {columns}::text[] AND NOT EXISTS ("
            "SELECT FROM jsonb_array_elements({successors}::jsonb) AS s (names)"
            " WHERE needs.names @> ARRAY(SELECT jsonb_array_elements_text(s.names)))"
        ).format(
            table=table.regclass,
            columns=sql.Literal(list(columns)),
            successors=sql.Literal(json.dumps([list(of) for of in successors])),
        ),
        found=(
            f"{{count}} unique indexes over {listed} of {table.label} go with the columns, and the "
            "plan builds none in their stead: rows that are there twice would be taken in."
        ),
        none=f"What is unique by {listed} of {table.label} stays so.",
        advice=(
            "Put a CreateIndex over the new columns with unique=True into phase 3, before CutOver; "
            "or drop the index now, if rows may be there twice."
        ),
        stays=True,
    )


def unclear_default(table: Table, column: str) -> Hazard:
    """A default whose meaning is not one lookup row: the new column cannot take it on."""
    name = f"{table.label}.{column}"
    return Hazard(
        name=f"default of {name}",
        sql=sql.SQL(
            "SELECT count(*), min(pg_get_expr(d.adbin, d.adrelid)) FROM pg_attrdef AS d"
            " JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
            " WHERE d.adrelid = {} AND a.attname = {} AND a.attgenerated = ''"
            " AND pg_get_expr(d.adbin, d.adrelid) !~ {}"
        ).format(table.regclass, sql.Literal(column), sql.Literal(CONSTANT_TEXT)),
        found=(
            f"The default of {name} is no constant text: once {column} is dropped, inserts that "
            "rely on it fail."
        ),
        none=f"The default of {name}, if it has one, is a text.",
        advice=(
            f"Let the application write {column} itself, then ALTER TABLE "
            f"{table.identifier.as_string()} ALTER COLUMN {sql.Identifier(column).as_string()} "
            "DROP DEFAULT; or make the default a constant."
        ),
        stays=True,
    )


def goes_with(
    table: Table, columns: Sequence[str], *, besides: Sequence[str], way_back: str
) -> Hazard:
    """Indexes, constraints and defaults that a dropped column silently takes with it.

    What the SQL of the way back names is brought back by it, and so is NOT NULL.
    """
    listed = ", ".join(columns)
    return Hazard(
        name=f"what goes with {table.label} ({listed})",
        sql=sql.SQL(
            "SELECT count(*), string_agg(what, ', ' ORDER BY what) FROM ("
            "SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) AS what"
            " {of_columns} AND d.deptype = 'a'"
            # These the drop keeps, and the rollback brings back: see ``attributes``.
            " AND d.classid NOT IN ('pg_attrdef'::regclass, 'pg_statistic_ext'::regclass)"
            " AND NOT EXISTS (SELECT FROM pg_constraint WHERE d.classid = 'pg_constraint'::regclass"
            " AND oid = d.objid AND (contype IN ('c', 'f') OR contype = 'u' AND {is_plain}))"
            " AND NOT (d.classid = 'pg_class'::regclass AND {is_plain} AND EXISTS (SELECT"
            " FROM pg_index WHERE indexrelid = d.objid))"
            " AND NOT EXISTS (SELECT FROM ("
            "SELECT relname AS name, false AS kept FROM pg_class"
            " WHERE d.classid = 'pg_class'::regclass AND oid = d.objid UNION ALL "
            "SELECT conname, contype = 'n' FROM pg_constraint"
            " WHERE d.classid = 'pg_constraint'::regclass AND oid = d.objid) AS o"
            " WHERE o.kept OR o.name = ANY ({besides}) OR {way_back}"
            " ~ ('\\y' || regexp_replace(o.name, '(\\W)', '\\\\\\1', 'g') || '\\y'))) AS found"
        ).format(
            of_columns=sql.SQL(_OF_COLUMNS).format(
                table=sql.Literal(table.identifier.as_string()), columns=sql.Literal(list(columns))
            ),
            besides=sql.Literal(list(besides)),
            way_back=sql.Literal(way_back),
            is_plain=sql.SQL("(SELECT relkind = 'r' FROM pg_class WHERE oid = {})").format(
                table.regclass
            ),
        ),
        found=(
            f"{{count}} objects go silently with the columns {listed} of {table.label}, and the "
            "rollback does not bring them back."
        ),
        none=f"Nothing goes silently with the columns {listed} of {table.label}.",
        advice="Put a step for each into the plan, or make sure that nobody will miss them.",
        blocks=False,
    )


def mentions(table: Table, columns: Sequence[str]) -> Hazard:
    """Functions whose text names the table and a column; PostgreSQL keeps no record of these."""
    listed = ", ".join(columns)
    return Hazard(
        name=f"functions that mention {table.label} ({listed})",
        sql=sql.SQL(
            "SELECT count(*), string_agg(what, ', ' ORDER BY what) FROM ("
            "SELECT p.oid::regprocedure::text AS what FROM pg_proc p"
            " JOIN pg_namespace n ON n.oid = p.pronamespace"
            " WHERE n.nspname <> ALL (ARRAY['pg_catalog', 'information_schema', {own}])"
            " AND position(lower({table}) IN lower(p.prosrc)) > 0"
            " AND EXISTS (SELECT FROM unnest({columns}::text[]) AS c"
            " WHERE position(lower(c) IN lower(p.prosrc)) > 0)) AS found"
        ).format(
            own=sql.Literal(SCHEMA),
            table=sql.Literal(table.name),
            columns=sql.Literal(list(columns)),
        ),
        found=f"{{count}} functions mention {table.label} and {listed}, which is dropped.",
        none=f"No function's text mentions {table.label} and one of {listed}.",
        advice="Read them: a function that reads a dropped column fails when it is called.",
        blocks=False,
    )
