"""The step that shows a table in its old shape to reports that cannot follow."""

from dataclasses import dataclass

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.catalog import PLAIN, VIEW, Catalog
from rollout.plan.hazards import Hazard, name_taken
from rollout.plan.mapping import text_of_row
from rollout.plan.names import code
from rollout.plan.plan import CONTRACT, Actions, Plan, Step
from rollout.plan.resolvers import search_path
from rollout.plan.table import Column, Named, Table
from rollout.plan.translations import Lookup


@dataclass(frozen=True, kw_only=True)
class LegacyView(Step, Named):
    """A view of a table as it was before the plan: the legacy columns, and none of the new ones.

    The legacy columns are computed from the new ones, as the dual write would write them. Who may
    read the whole table may read the view, with rights of their own: row security holds for it.
    Before DropLegacy in the phase's steps, it keeps the order of the columns.
    """

    table: Table
    """The table that is shown."""
    name: str
    """The name of the view."""
    schema: str = "public"
    """The schema of the view, which must exist."""
    phases = frozenset({CONTRACT})

    @property
    def _comment(self) -> str:
        return f"rollout: {self.table.label} in its old shape"

    @property
    def _exists(self) -> sql.Composed:
        return sql.SQL(
            "EXISTS (SELECT FROM pg_class WHERE oid = to_regclass({}) AND relkind = 'v'"
            " AND obj_description(oid, 'pg_class') = {})"
        ).format(sql.Literal(self.identifier.as_string()), sql.Literal(self._comment))

    def _type(self, column: str) -> str:
        return self.table.columns.get(column, Column("text")).type

    def _legacy(self, plan: Plan) -> sql.Composable:
        """SQL of an array of the legacy columns and the SQL of their values, over row ``t``."""
        pairs: list[sql.Composable] = []
        for translation in plan.translations_of(self.table):
            for column in translation.drops:
                value: sql.Composable = (
                    self._text(plan, translation)
                    if isinstance(translation, Lookup)
                    else sql.Literal(translation.legacy_values("t")[column].as_string())
                )
                pairs.append(
                    sql.SQL("ARRAY[{}, format('(%s)::%s', {}, {})]").format(
                        sql.Literal(column), value, sql.Literal(self._type(column))
                    )
                )
        return sql.SQL(",\n    ").join(pairs)

    def _text(self, plan: Plan, lookup: Lookup) -> sql.Composed:
        """SQL of the SQL of a lookup's legacy text: of a row that is written otherwise than it is
        called, the text itself, since readers have no rights on the mapping.
        """
        column = sql.Identifier("t", lookup.column).as_string()
        name = sql.SQL("(SELECT l.name FROM {} AS l WHERE l.id = {})").format(
            lookup.lookup_sql, code(column)
        )
        return sql.SQL(
            "(SELECT format('coalesce(%s, %s)', coalesce('CASE ' || string_agg(format("
            "'WHEN %s = %s THEN %L', {column}, l.id, w.text), ' ' ORDER BY l.id)"
            " || ' ELSE ' || {name} || ' END', {name}), {no_text})\n"
            "      FROM {lookup} AS l CROSS JOIN LATERAL (SELECT {text} AS text) AS w\n"
            "      WHERE w.text IS DISTINCT FROM l.name)"
        ).format(
            column=sql.Literal(column),
            name=sql.Literal(name.as_string()),
            no_text=sql.Literal(lookup.no_text.as_string()),
            lookup=lookup.lookup_sql,
            text=text_of_row(lookup, plan.name, "l"),
        )

    def forward(self, plan: Plan) -> Actions:
        new = plan.shape(CONTRACT)[self.table.label].keys() - self.table.columns.keys()
        body = sql.SQL(
            "DECLARE listed text; reader text; path text := current_setting('search_path');\n"
            "  old text[][] := ARRAY[{legacy}]::text[][];\n"
            "BEGIN\n"
            "  PERFORM set_config('search_path', {search_path}, true);\n"
            "  WITH legacy AS (SELECT old[n][1] AS name, old[n][2] AS value, n"
            " FROM generate_subscripts(old, 1) AS n)\n"
            "  SELECT string_agg(format('%s AS %I', coalesce(l.value, format('t.%I', c.name)),"
            " coalesce(l.name, c.name)), ', ' ORDER BY c.attnum, l.n) INTO listed\n"
            "    FROM (SELECT attname::text AS name, attnum FROM pg_attribute WHERE attrelid ="
            " {table} AND attnum > 0 AND NOT attisdropped AND attname <> ALL ({new})) AS c\n"
            "    FULL JOIN legacy AS l ON l.name = c.name;\n"
            "  EXECUTE format('CREATE VIEW %s WITH (security_invoker = true) AS SELECT %s FROM %s"
            " AS t', {view}, listed, {table});\n"
            "  EXECUTE format('COMMENT ON VIEW %s IS %L', {view}, {comment});\n"
            "  FOR reader IN SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC'"
            " ELSE acl.grantee::regrole::text END\n"
            "    FROM pg_class AS c,"
            " aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS acl\n"
            "    WHERE c.oid = {table} AND acl.privilege_type = 'SELECT'\n"
            "  LOOP EXECUTE format('GRANT SELECT ON %s TO %s', {view}, reader); END LOOP;\n"
            "  PERFORM set_config('search_path', path, true);\nEND"
        ).format(
            legacy=self._legacy(plan),
            search_path=sql.Literal(search_path(self.table.schema).as_string()),
            table=self.table.regclass,
            new=sql.SQL("{}::text[]").format(sql.Literal(sorted(new))),
            view=sql.Literal(self.identifier.as_string()),
            comment=sql.Literal(self._comment),
        )
        return (
            Statement(
                sql=sql.SQL("DO {}").format(sql.Literal(body.as_string())),
                done=self._exists,
                locks=(Lock(LockMode.ACCESS_SHARE, self.table.label),),
            ),
        )

    def backward(self, plan: Plan) -> Actions:
        return (
            Statement(
                sql=sql.SQL("DROP VIEW {}").format(self.identifier),
                # One that the application has by that name is left alone.
                done=facts.no(self._exists),
            ),
        )

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        catalog.put(self.label, VIEW, PLAIN)

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        return (
            name_taken(
                self.identifier,
                self.label,
                own=self._exists,
                name=f"name of the view {self.label}",
                advice="Give the view another name or schema in the plan, or drop what has it.",
            ),
            Hazard(
                name=f"schema of the view {self.label}",
                sql=sql.SQL(
                    "SELECT (to_regnamespace(quote_ident({})) IS NULL)::int, NULL::text"
                ).format(sql.Literal(self.schema)),
                finding=f"{{count}} schema is missing: {self.schema}, of the view {self.label}.",
                none=f"The schema {self.schema} is there.",
                advice=(
                    f"CREATE SCHEMA {sql.Identifier(self.schema).as_string()}, and GRANT USAGE ON "
                    "it to the readers."
                ),
                stays=True,
            ),
            Hazard(
                name=f"server of the view {self.label}",
                sql=sql.SQL(
                    "SELECT (current_setting('server_version_num')::int < 150000)::int,"
                    " current_setting('server_version')"
                ).format(),
                finding=(
                    f"{{count}} server is older than PostgreSQL 15: there the view {self.label} "
                    "would read with its owner's rights, whatever its readers may see."
                ),
                none="The server reads views with their readers' rights.",
                advice="Upgrade PostgreSQL first, or make a view of your own by an SQL file.",
                stays=True,
            ),
            Hazard(
                name=f"readers of the view {self.label}",
                sql=sql.SQL(
                    "SELECT count(DISTINCT acl.grantee), string_agg(DISTINCT CASE acl.grantee"
                    " WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END, ', ')"
                    " FROM pg_attribute AS a CROSS JOIN LATERAL aclexplode(a.attacl) AS acl"
                    " WHERE a.attrelid = {} AND acl.privilege_type = 'SELECT'"
                    " AND NOT has_table_privilege(acl.grantee, a.attrelid, 'SELECT')"
                ).format(self.table.regclass),
                finding=(
                    f"{{count}} roles may read single columns of {self.table.label} alone: they "
                    f"cannot read the view {self.label}."
                ),
                none=f"Who may read {self.table.label} may read the whole table.",
                advice="Give them a view of their own, with the rights of its owner.",
                blocks=False,
            ),
        )
