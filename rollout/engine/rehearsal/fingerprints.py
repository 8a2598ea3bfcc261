"""Tells whether catalog and data came back the same, while an application wrote all the time.

Before the first phase every table is copied, and a trigger is put on it that keeps the last version
of each row that the generated traffic writes. Afterwards every row that the traffic did not touch
has to be what its copy is, in every column; each that it did touch, what it wrote last. What was
written in the new shape alone comes back as a legacy text that means the same.
"""

from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from rollout.engine import catalog
from rollout.engine.target import Connection
from rollout.plan.names import escaped, in_target, normal
from rollout.plan.plan import Plan
from rollout.plan.table import Table
from rollout.plan.translations import Lookup

WITNESS = "rollout_rehearsal"
# The ``application_name`` of the sessions whose writes are the application's.
TRAFFIC = "rollout rehearsal traffic"
# Maximum of a table's differences listed one by one.
MAX_SHOWN = 10

# Object to its parts, each with a text; a table's columns without their order.
Fingerprint = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Verdict:
    """The differences found, a sentence each; and how many rows were compared."""

    catalog: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    untouched: int = 0
    written: int = 0


def fingerprint(connection: Connection, plan: Plan) -> Fingerprint:
    """Every table, view, sequence and function of the database, and the plan's tables in full."""
    objects: Fingerprint = {}
    live = catalog.read(connection, catalog.labels_of(plan), in_full=True)
    for label, parts in live.tables.items():
        objects[f"table {label}"] = {
            f"{part.kind} {part.name}".strip(): text for part, text in parts.items()
        }
    for name, options in connection.execute(_OBJECTS, {"witness": WITNESS}).fetchall():
        objects.setdefault(name, {})["options"] = options
    return objects


def begin(connection: Connection, plan: Plan) -> None:
    """Copy the tables and watch who writes to them; what an earlier try left goes first."""
    _execute(connection, "DROP SCHEMA IF EXISTS {witness} CASCADE; CREATE SCHEMA {witness}")
    for number, table in enumerate(plan.tables):
        names = _names(number, table)
        _execute(
            connection,
            "CREATE UNLOGGED TABLE {before} AS TABLE {table};"
            "CREATE UNLOGGED TABLE {written} (key text PRIMARY KEY, row jsonb, names jsonb)",
            **names,
        )
        connection.execute(
            _WATCH.format(
                **names,
                application=sql.Literal(TRAFFIC),
                plan=sql.Literal(plan.name),
                meant=_names_meant(plan, table),
            )
        )
    connection.execute(sql.SQL("ANALYZE"))


def end(connection: Connection, plan: Plan, before: Fingerprint) -> Verdict:
    """Compare what is there now with what was there. Raises psycopg.Error."""
    for number, table in enumerate(plan.tables):
        _execute(connection, "DROP TRIGGER IF EXISTS {watch} ON {table}", **_names(number, table))
    now = fingerprint(connection, plan)
    data: list[str] = []
    untouched = written = 0
    for number, table in enumerate(plan.tables):
        common = _common_columns(connection, number, table)
        if not set(table.key) <= set(common):
            data.append(f"{table.label}: primary key missing.")
            continue
        sentences, rows = _untouched(connection, number, table, common)
        data += sentences
        untouched += rows
        sentences, rows = _written(connection, plan, number, table, common)
        data += sentences
        written += rows
    return Verdict(differences(before, now), data, untouched, written)


def differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """What is otherwise in the catalog, a sentence each."""
    sentences = []
    for name in sorted(before.keys() | now.keys()):
        was, is_ = before.get(name), now.get(name)
        if is_ is None:
            sentences.append(f"{name} is missing.")
        elif was is None:
            sentences.append(f"{name} was not removed by the rollback.")
        else:
            sentences += [
                f"{name}, {part}: was {was.get(part) or 'absent'}, now {is_.get(part) or 'absent'}."
                for part in sorted(was.keys() | is_.keys())
                if was.get(part) != is_.get(part)
            ]
    return sentences


def _untouched(
    connection: Connection, number: int, table: Table, columns: list[str]
) -> tuple[list[str], int]:
    """Rows that the traffic did not write: each must be what it was."""
    names = _names(number, table)
    # As text, so that 1.0 and 1.00 are two.
    row = sql.SQL("ROW({})")
    of_side = {
        side: row.format(
            sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(side, c)) for c in columns)
        )
        for side in ("b", "t")
    }
    question = sql.SQL(
        "WITH compared AS MATERIALIZED ("
        " SELECT CASE WHEN b.{first} IS NULL THEN {key_t} ELSE {key_b} END AS key,"
        "  b.{first} IS NULL AS is_new, t.{first} IS NULL AS is_gone, {b} AS was, {t} AS is_now"
        " FROM {before} AS b FULL JOIN {table} AS t ON {same_key}"
        " WHERE b.{first} IS NULL OR t.{first} IS NULL OR {b} IS DISTINCT FROM {t})"
        " SELECT c.key, c.is_new, c.is_gone, count(*) OVER () FROM compared AS c"
        " WHERE NOT EXISTS (SELECT FROM {written} AS w WHERE w.key = c.key)"
        " ORDER BY c.key LIMIT {shown}"
    ).format(
        **names,
        key_b=_key_of(table, "b"),
        key_t=_key_of(table, "t"),
        b=of_side["b"],
        t=of_side["t"],
        first=sql.Identifier(table.key[0]),
        same_key=sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("b", c), sql.Identifier("t", c))
            for c in table.key
        ),
        shown=sql.Literal(MAX_SHOWN),
    )
    rows = connection.execute(question).fetchall()
    sentences = []
    for key, is_new, is_gone, _count in rows:
        if is_new or is_gone:
            what = "is unexpected" if is_new else "is missing"
            sentences.append(f"{table.label} {key} {what}.")
        else:
            sentences.append(
                f"{table.label} {key}: {_what_differs(connection, names, key, table)}."
            )
    if rows and rows[0][3] > len(rows):
        sentences.append(f"{table.label}: {rows[0][3] - len(rows):,} more rows differ.")
    total = connection.execute(
        sql.SQL(
            "SELECT count(*) FROM {before} AS b WHERE NOT EXISTS"
            " (SELECT FROM {written} AS w WHERE w.key = {key})"
        ).format(**names, key=_key_of(table, "b"))
    ).fetchone()
    return sentences, total[0] if total else 0


def _what_differs(connection: Connection, names: dict[str, Any], key: str, table: Table) -> str:
    row = connection.execute(
        sql.SQL(
            "SELECT string_agg(format('%%s was %%s, is %%s', o.key, o.value, n.value), '; '"
            "  ORDER BY o.key) FROM {before} AS b JOIN {table} AS t ON {key_b} = {key_t},"
            " jsonb_each(to_jsonb(b)) AS o JOIN LATERAL jsonb_each(to_jsonb(t)) AS n"
            "  ON n.key = o.key AND n.value IS DISTINCT FROM o.value WHERE {key_b} = %s"
        ).format(**names, key_b=_key_of(table, "b"), key_t=_key_of(table, "t")),
        [key],
    ).fetchone()
    return str(row[0])[:300] if row and row[0] else "its values differ"


def _written(
    connection: Connection, plan: Plan, number: int, table: Table, columns: list[str]
) -> tuple[list[str], int]:
    """Rows that the traffic wrote: each is to hold what it wrote last."""
    names = _names(number, table)
    lookups = plan.lookups_of(table)
    legacy = plan.legacy_of(table)
    wrong = [
        sql.SQL(
            "(SELECT string_agg(format('%%s was written as %%s, is %%s', o.key, o.value,"
            " n.value), '; ' ORDER BY o.key)"
            " FROM jsonb_each({row}) AS o JOIN jsonb_each(to_jsonb(t)) AS n ON n.key = o.key"
            " WHERE o.key = ANY (CASE WHEN w.names IS NULL THEN %(columns)s::text[]"
            "  ELSE %(plain)s::text[] END)"
            "   AND n.value IS DISTINCT FROM o.value)"
        ).format(row=escaped(_with_names_of_before(plan, table))),
        *(_means_another(plan, lookup) for lookup in lookups if lookup.legacy in columns),
    ]
    question = sql.SQL(
        "SELECT w.key, t.{first} IS NULL, w.row IS NULL, d.said, count(*) OVER ()"
        " FROM {written} AS w LEFT JOIN {table} AS t ON {key_t} = w.key"
        " LEFT JOIN LATERAL (SELECT nullif(concat_ws('; ', {wrong}), '') AS said) AS d"
        "   ON t.{first} IS NOT NULL"
        " WHERE (w.row IS NULL) <> (t.{first} IS NULL) OR d.said IS NOT NULL"
        " ORDER BY 1 LIMIT {shown}"
    ).format(
        **names,
        key_t=_key_of(table, "t"),
        first=sql.Identifier(table.key[0]),
        wrong=sql.SQL(", ").join(wrong),
        shown=sql.Literal(MAX_SHOWN),
    )
    rows = connection.execute(
        question, {"columns": columns, "plain": [c for c in columns if c not in legacy]}
    ).fetchall()
    sentences = []
    for key, is_gone, was_deleted, differs, _count in rows:
        if was_deleted:
            sentences.append(f"{table.label} {key} was deleted by the traffic but exists.")
        elif is_gone:
            sentences.append(f"{table.label} {key} was written by the traffic but is missing.")
        else:
            sentences.append(f"{table.label} {key}: {str(differs)[:300]}.")
    if rows and rows[0][4] > len(rows):
        sentences.append(f"{table.label}: {rows[0][4] - len(rows):,} more rows lost writes.")
    total = connection.execute(sql.SQL("SELECT count(*) FROM {written}").format(**names)).fetchone()
    return sentences, total[0] if total else 0


def _with_names_of_before(plan: Plan, table: Table) -> sql.Composable:
    """SQL of what the traffic wrote, with legacy values under the names that they have at the end.

    Where the new column has the name already and the legacy one is gone, there is none to compare.
    """
    row: sql.Composable = sql.SQL("w.row")
    for t in plan.keeping_names_of(table):
        (legacy,), (new,) = t.legacy, t.columns
        row = sql.SQL(
            "(SELECT CASE WHEN r.row ? {new} THEN r.row WHEN r.row ? {aside} THEN"
            " r.row || jsonb_build_object({legacy}::text, r.row -> {aside})"
            " ELSE r.row - {legacy} END FROM (SELECT {row} AS row) AS r)"
        ).format(
            new=sql.Literal(new),
            aside=sql.Literal(t.names_after_cutover[legacy]),
            legacy=sql.Literal(legacy),
            row=row,
        )
    return row


def _means_another(plan: Plan, lookup: Lookup) -> sql.Composable:
    """SQL of what is wrong with the legacy text of a row that was written as a lookup row alone."""
    text = normal(
        sql.SQL("coalesce({}, '')").format(lookup.text(sql.Identifier("t", lookup.legacy)))
    )
    name = sql.SQL("(w.names ->> {})").format(sql.Literal(lookup.legacy))
    synonyms = [
        sql.SQL("({} = {} AND {} = {})").format(
            text, normal(sql.Literal(synonym)), normal(name), normal(sql.Literal(meant))
        )
        for synonym, meant in lookup.synonyms.items()
    ]
    blank = sql.SQL("({} = '' AND {} IS NOT DISTINCT FROM {})").format(
        text, name, sql.Literal(lookup.blank)
    )
    decided = sql.SQL(
        "EXISTS (SELECT FROM {decisions} AS e WHERE e.plan = {plan} AND e.table_label = {table}"
        " AND e.legacy_column = {column} AND e.normal = {text} AND e.name IS NOT DISTINCT FROM"
        " {name})"
    ).format(
        decisions=in_target("decisions"),
        plan=sql.Literal(plan.name),
        table=sql.Literal(lookup.table.label),
        column=sql.Literal(lookup.legacy),
        text=text,
        name=name,
    )
    right = [sql.SQL("{} = {}").format(text, normal(name)), blank, decided, *synonyms]
    return sql.SQL(
        "CASE WHEN w.names IS NOT NULL AND NOT coalesce({right}, false) THEN"
        " format('%%s was written as the lookup row %%s, is %%s', {column}, {name}, {there}) END"
    ).format(
        right=sql.SQL(" OR ").join(right),
        column=sql.Literal(lookup.legacy),
        name=name,
        there=sql.Identifier("t", lookup.legacy),
    )


def _names_meant(plan: Plan, table: Table) -> sql.Composable:
    """SQL of an object of the names of the lookup rows that a new row ``new`` points to."""
    pairs: list[sql.Composable] = []
    for lookup in plan.lookups_of(table):
        pairs.append(sql.Literal(lookup.legacy))
        pairs.append(
            sql.SQL("(SELECT l.name FROM {} AS l WHERE l.id = new.{})").format(
                lookup.lookup_sql, sql.Identifier(lookup.column)
            )
        )
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs))


def _common_columns(connection: Connection, number: int, table: Table) -> list[str]:
    """The columns that are there now and were before."""
    rows = connection.execute(
        sql.SQL(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = {before}::regclass"
            "   AND attnum > 0 AND NOT attisdropped"
            " INTERSECT SELECT attname::text FROM pg_attribute WHERE attrelid = {table}::regclass"
            "   AND attnum > 0 AND NOT attisdropped ORDER BY 1"
        ).format(
            before=sql.Literal(_names(number, table)["before"].as_string()),
            table=sql.Literal(table.identifier.as_string()),
        )
    ).fetchall()
    return [row[0] for row in rows]


def _key_of(table: Table, alias: str) -> sql.Composable:
    """SQL of a row's key as one text."""
    return sql.SQL("concat_ws(' ', {})").format(table.key_of(alias))


def _names(number: int, table: Table) -> dict[str, Any]:
    return {
        "table": table.identifier,
        "before": sql.Identifier(WITNESS, f"before_{number}"),
        "written": sql.Identifier(WITNESS, f"written_{number}"),
        "function": sql.Identifier(WITNESS, f"watch_{number}"),
        "watch": sql.Identifier(WITNESS),
        "new_key": _key_of(table, "new"),
        "old_key": _key_of(table, "old"),
    }


def _execute(connection: Connection, template: str, **names: Any) -> None:
    connection.execute(sql.SQL(template).format(witness=sql.Identifier(WITNESS), **names))


# The condition is asked before the function is called: only the traffic pays for it.
_WATCH = sql.SQL(
    "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $watch$"
    " DECLARE meant jsonb; BEGIN"
    "  IF tg_op <> 'INSERT' AND (tg_op = 'DELETE' OR {old_key} <> {new_key}) THEN"
    "    INSERT INTO {written} VALUES ({old_key})"
    "      ON CONFLICT (key) DO UPDATE SET row = NULL, names = NULL;"
    "  END IF;"
    "  IF tg_op <> 'DELETE' THEN"
    "    IF EXISTS (SELECT FROM rollout.modes WHERE plan = {plan} AND write_mode = 'new') THEN"
    "      meant := {meant};"
    "    END IF;"
    "    INSERT INTO {written} VALUES ({new_key}, to_jsonb(new), meant)"
    "      ON CONFLICT (key) DO UPDATE SET row = excluded.row, names = excluded.names;"
    "  END IF;"
    "  RETURN NULL; END $watch$;"
    "CREATE TRIGGER {watch} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW"
    " WHEN (current_setting('application_name') = {application}) EXECUTE FUNCTION {function}()"
)
_OBJECTS = """
SELECT CASE c.relkind WHEN 'S' THEN 'sequence ' WHEN 'v' THEN 'view ' ELSE 'table ' END
       || CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END || c.relname,
       concat_ws(', ', array_to_string(c.reloptions, ', '),
                 'replica identity ' || c.relreplident::text,
                 CASE WHEN c.relrowsecurity THEN 'row security' END)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm', 'v', 'S') AND n.nspname !~ '^(pg_|information_schema$)'
   AND n.nspname <> %(witness)s
UNION ALL
SELECT 'function ' || p.oid::regprocedure, md5(pg_get_functiondef(p.oid))
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE p.prokind IN ('f', 'p') AND n.nspname !~ '^(pg_|information_schema$)'
   AND n.nspname <> %(witness)s
   AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass
                      AND d.objid = p.oid AND d.deptype = 'e')
"""
