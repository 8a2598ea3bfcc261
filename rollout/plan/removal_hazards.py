"""Questions about what goes with a column that is dropped, or keeps it from being dropped."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from psycopg import sql

from rollout.plan.hazards import Hazard
from rollout.plan.names import SCHEMA, TWIN
from rollout.plan.table import Table

# Regular expression of a constant text as a default, as PostgreSQL prints it.
CONSTANT_TEXT = r"^('([^']|'')*'|NULL)::[\w .\"]+(\(\d+\))?$"
# The same of any type: numbers and booleans are printed bare.
CONSTANT = rf"{CONSTANT_TEXT}|^(-?[0-9.]+|true|false)$"
_OF_COLUMNS = (
    "FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
    " WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid IN ({tables})"
    " AND a.attname = ANY ({columns})"
)


def depends_on(
    table: Table,
    columns: Sequence[str],
    *,
    besides: Sequence[str],
    foreign_keys: bool = True,
    views: bool = True,
) -> Hazard:
    """Views, functions, policies and the like that keep a column from being dropped.

    Other tables' foreign keys are among them, unless ``foreign_keys`` are looked at elsewhere, and
    so are ``views``.
    """
    listed = ", ".join(columns)
    return Hazard(
        name=f"dependents of {table.label} ({listed})",
        sql=sql.SQL(
            "SELECT count(*), string_agg(what, ', ' ORDER BY what) FROM ("
            "SELECT DISTINCT CASE WHEN d.classid = 'pg_rewrite'::regclass"
            " THEN pg_describe_object('pg_class'::regclass, r.ev_class, 0)"
            " ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END AS what {of_columns}"
            " AND d.deptype = 'n' AND ({views} OR r.ev_class IS NULL"
            " OR r.ev_class = d.refobjid) AND NOT (d.classid = 'pg_trigger'::regclass"
            " AND EXISTS (SELECT FROM pg_trigger g WHERE g.oid = d.objid"
            " AND g.tgname = ANY ({besides})))"
            # A CHECK goes along with any of its columns.
            " AND NOT (d.classid = 'pg_constraint'::regclass"
            " AND EXISTS (SELECT FROM pg_constraint k WHERE k.oid = d.objid AND ({handled}"
            " OR k.contype = 'c' AND k.conrelid = d.refobjid OR k.conname ~ {twins})))) AS found"
        ).format(
            # What a rollback of the cutover left is dropped before the column.
            twins=sql.Literal(TWIN),
            handled=sql.SQL("false" if foreign_keys else "k.contype = 'f'"),
            views=sql.SQL("true" if views else "false"),
            of_columns=sql.SQL(
                _OF_COLUMNS.replace(
                    " WHERE ",
                    " LEFT JOIN pg_rewrite r ON r.oid = d.objid"
                    " AND d.classid = 'pg_rewrite'::regclass WHERE ",
                )
            ).format(
                # Those that depend on a column of a partition keep its table's from being dropped.
                tables=sql.SQL(
                    "SELECT {0}::regclass::oid UNION"
                    " SELECT relid FROM pg_partition_tree({0}::regclass)"
                ).format(sql.Literal(table.identifier.as_string())),
                columns=sql.Literal(list(columns)),
            ),
            besides=sql.Literal(list(besides)),
        ),
        finding=(
            f"{{count}} objects depend on columns of {table.label} that will be dropped: {listed}."
        ),
        none=f"No other object depends on the columns {listed} of {table.label}.",
        advice="Drop or change them first: the columns are never dropped with CASCADE.",
    )


def replica_identity(table: Table, columns: Sequence[str]) -> Hazard:
    """An index that is the table's replica identity and goes with the columns."""
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
        finding=(
            f"{{count}} indexes on {listed} of {table.label} are its replica identity. Once they "
            "are dropped, a publication refuses every UPDATE and DELETE."
        ),
        none=f"The replica identity of {table.label} has none of {listed}.",
        advice=(
            f"ALTER TABLE {table.identifier.as_string()} REPLICA IDENTITY DEFAULT, or USING INDEX "
            "with another one."
        ),
        stays=True,
    )


def no_longer_unique(
    table: Table, columns: Sequence[str], successors: Sequence[Sequence[str]]
) -> Hazard:
    """Unique indexes over dropped columns that no unique index over the new columns replaces.

    ``successors`` are the columns of those new indexes, each given as the legacy column that it
    replaces.
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
            # What a partition has of its table's is told of the table alone.
            " WHERE x.indrelid IN ({relations}) AND (x.indisunique OR x.indisexclusion)"
            " AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = x.indexrelid)"
            " AND i.relname !~ {twins} AND needs.names && {columns}::text[] AND NOT EXISTS ("
            "SELECT FROM jsonb_array_elements({successors}::jsonb) AS s (names)"
            " WHERE needs.names @> ARRAY(SELECT jsonb_array_elements_text(s.names)))"
        ).format(
            relations=table.relations,
            columns=sql.Literal(list(columns)),
            twins=sql.Literal(TWIN),
            successors=sql.Literal(json.dumps([list(of) for of in successors])),
        ),
        finding=(
            f"{{count}} unique indexes on {listed} of {table.label} are dropped with the columns "
            "and not replaced: duplicates would be accepted."
        ),
        none=f"Uniqueness of {listed} in {table.label} is kept.",
        advice=(
            "Put a CreateIndex over the new columns with unique=True into phase 3, before CutOver; "
            "or drop the index now, if duplicates are allowed."
        ),
        stays=True,
    )


def unclear_default(table: Table, column: str, *, is_text: bool = True) -> Hazard:
    """A default whose meaning is not one value: the new column cannot take it on."""
    name = f"{table.label}.{column}"
    unclear = "is not a constant text: once" if is_text else "is not a constant: once"
    constant = CONSTANT_TEXT if is_text else CONSTANT
    return Hazard(
        name=f"default of {name}",
        sql=sql.SQL(
            "SELECT count(*), min(pg_get_expr(d.adbin, d.adrelid)) FROM pg_attrdef AS d"
            " JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
            " WHERE d.adrelid = {} AND a.attname = {} AND a.attgenerated = ''"
            " AND pg_get_expr(d.adbin, d.adrelid) !~ {}"
        ).format(table.regclass, sql.Literal(column), sql.Literal(constant)),
        finding=(
            f"The default of {name} {unclear} {column} is dropped, inserts that rely on it fail."
        ),
        none=f"The default of {name}, if any, is a constant.",
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
        name=f"objects dropped with {table.label} ({listed})",
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
                tables=sql.SQL("{}::regclass").format(sql.Literal(table.identifier.as_string())),
                columns=sql.Literal(list(columns)),
            ),
            besides=sql.Literal(list(besides)),
            way_back=sql.Literal(way_back),
            is_plain=sql.SQL("(SELECT relkind = 'r' FROM pg_class WHERE oid = {})").format(
                table.regclass
            ),
        ),
        finding=(
            f"{{count}} objects are dropped together with the columns {listed} of {table.label} "
            "and not restored on rollback."
        ),
        none=f"No dependent objects would be dropped implicitly with {listed} of {table.label}.",
        advice="Add a step for each to the plan, or confirm that they are unused.",
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
        finding=f"{{count}} functions mention {table.label} and {listed}, which is dropped.",
        none=f"No function's text mentions {table.label} and one of {listed}.",
        advice="Review them: a function that reads a dropped column fails when it is called.",
        blocks=False,
    )


def names_hazards(
    table: Table, names: Mapping[str, str], *, besides: Sequence[str]
) -> tuple[Hazard, ...]:
    """What keeps a new column from taking its legacy column's name: asked before phase 0.

    ``names`` are the names after the cutover by those before. Views and the like go with a column
    and not with its name: they would read the legacy one.
    """
    legacy, aside = next((old, new) for old, new in names.items() if new not in names)
    name = f"{table.label}.{legacy}"
    dependents = depends_on(table, (legacy,), besides=besides)
    left = sql.SQL(
        "SELECT count(*), string_agg(what, ', ' ORDER BY what) FROM ("
        "SELECT pg_describe_object('pg_constraint'::regclass, k.oid, 0) AS what"
        " FROM pg_constraint AS k JOIN pg_attribute AS a ON a.attrelid = k.conrelid"
        " AND a.attnum = ANY (k.conkey) WHERE k.conrelid IN ({relations})"
        " AND k.contype IN ('f', 'x') AND k.conparentid = 0 AND a.attname = {legacy}"
        " UNION ALL SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend AS d"
        " JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        " JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'"
        " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass"
        " AND d.refobjid IN ({relations}) AND d.deptype IN ('a', 'i') AND a.attname = {legacy}"
        " UNION ALL SELECT 'column ' || attname FROM pg_attribute"
        " WHERE attrelid = {table} AND attname = {aside} AND NOT attisdropped) AS found"
    ).format(
        table=table.regclass,
        relations=table.relations,
        legacy=sql.Literal(legacy),
        aside=sql.Literal(aside),
    )
    return (
        replace(
            dependents,
            name=f"dependents of the name {name}",
            finding=(
                f"{{count}} objects depend on {name}, whose name the new column takes: they would "
                "stay with the legacy one."
            ),
            none=f"No other object depends on {name}.",
            advice="Drop them before phase 0, and create them again after phase 4.",
            stays=True,
        ),
        Hazard(
            name=f"name of {name}",
            sql=left,
            finding=(
                f"{{count}} objects are blocking a new column from taking the name {name}: foreign "
                "keys, exclusion constraints and sequences would stay with the legacy column, "
                f"which is called {aside} then."
            ),
            none=f"Nothing keeps a new column from taking the name {name}.",
            advice="Drop or rename them before phase 0, or write keeps_name=False.",
            stays=True,
        ),
    )
