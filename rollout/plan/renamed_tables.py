"""The steps that give a table another name or schema, and take the old name away later."""

from dataclasses import dataclass

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.hazards import Hazard, name_taken, owned_by_others, published
from rollout.plan.plan import CONTRACT, ENFORCE, Actions, Plan, Step
from rollout.plan.table import Named


@dataclass(frozen=True, kw_only=True)
class RenameTable(Step, Named):
    """A table gets another name, schema or both; a view of the old name stays for old releases.

    The view is one that PostgreSQL writes through: releases that know the old name read and write
    as before, with rights of their own. Renaming and view are one short transaction.
    """

    name: str
    """The table's name now. It is none of the plan's tables."""
    to: str
    """The name that it gets."""
    schema: str = "public"
    """The schema of the table now."""
    to_schema: str = ""
    """The schema that it gets, which must exist; empty where it stays in its own."""
    phases = frozenset({ENFORCE, CONTRACT})

    @property
    def renamed(self) -> sql.Identifier:
        """The table under its new name."""
        return sql.Identifier(self.to_schema or self.schema, self.to)

    @property
    def new_label(self) -> str:
        """How people read the new name."""
        schema = self.to_schema or self.schema
        return self.to if schema == "public" else f"{schema}.{self.to}"

    @property
    def comment(self) -> str:
        """What tells the view of the old name from others."""
        return f"rollout: the old name of {self.new_label}"

    @property
    def view_exists(self) -> sql.Composed:
        """SQL condition: the old name is the view that this step has made."""
        return sql.SQL(
            "EXISTS (SELECT FROM pg_class WHERE oid = to_regclass({}) AND relkind = 'v'"
            " AND obj_description(oid, 'pg_class') = {})"
        ).format(sql.Literal(self.identifier.as_string()), sql.Literal(self.comment))

    @property
    def _has_old_name(self) -> sql.Composed:
        return sql.SQL(
            "EXISTS (SELECT FROM pg_class WHERE oid = to_regclass({}) AND relkind IN ('r', 'p'))"
        ).format(sql.Literal(self.identifier.as_string()))

    def _move(self, *, back: bool = False) -> sql.Composed:
        """SQL of the renaming alone: first the schema, then the name."""
        names = ((self.schema, self.name), (self.to_schema or self.schema, self.to))
        (schema, name), (to_schema, to) = reversed(names) if back else names
        lines: list[sql.Composable] = []
        if schema != to_schema:
            lines.append(
                sql.SQL("  ALTER TABLE {} SET SCHEMA {};\n").format(
                    sql.Identifier(schema, name), sql.Identifier(to_schema)
                )
            )
        if name != to:
            lines.append(
                sql.SQL("  ALTER TABLE {} RENAME TO {};\n").format(
                    sql.Identifier(to_schema, name), sql.Identifier(to)
                )
            )
        return sql.SQL("").join(lines)

    @property
    def make_view(self) -> sql.Composed:
        """PL/pgSQL that makes the view of the old name, with the rights and owner of the table."""
        return sql.SQL(
            "  CREATE VIEW {view} WITH (security_invoker = true) AS SELECT * FROM {table};\n"
            "  COMMENT ON VIEW {view} IS {comment};\n"
            "  EXECUTE format('ALTER VIEW %s OWNER TO %I', {view_name}, (SELECT"
            " pg_get_userbyid(relowner) FROM pg_class WHERE oid = {table_name}::regclass));\n"
            "  FOR change IN\n"
            "    SELECT format('GRANT %s%s ON %s TO %s%s', acl.privilege_type, acl.of, {view_name},"
            " CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE acl.grantee::regrole::text END,"
            " CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)\n"
            "      FROM (SELECT e.*, '' AS of FROM pg_class AS c, aclexplode(c.relacl) AS e"
            " WHERE c.oid = {table_name}::regclass\n"
            "            UNION ALL SELECT e.*, format(' (%I)', a.attname) FROM pg_attribute AS a,"
            " aclexplode(a.attacl) AS e WHERE a.attrelid = {table_name}::regclass"
            " AND NOT a.attisdropped) AS acl\n"
            "     WHERE acl.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')\n"
            "  LOOP EXECUTE change; END LOOP;\n"
        ).format(
            view=self.identifier,
            table=self.renamed,
            comment=sql.Literal(self.comment),
            view_name=sql.Literal(self.identifier.as_string()),
            table_name=sql.Literal(self.renamed.as_string()),
        )

    @property
    def view_again(self) -> sql.Composed:
        """SQL that makes the view once more: its owner and rights are those of the table then."""
        return block(sql.SQL("  DROP VIEW {};\n").format(self.identifier), self.make_view)

    def forward(self, plan: Plan) -> Actions:
        return (
            Statement(
                sql=block(self._move(), self.make_view),
                # Another relation may have the new name by now.
                done=facts.all_of(
                    facts.relation_exists(self.renamed), facts.no(self._has_old_name)
                ),
                locks=(Lock(LockMode.ACCESS_EXCLUSIVE, self.label),),
            ),
        )

    def backward(self, plan: Plan) -> Actions:
        # Somebody may have dropped the view already; no other relation is dropped.
        drop = sql.SQL("  IF {} THEN DROP VIEW {}; END IF;\n").format(
            self.view_exists, self.identifier
        )
        return (
            Statement(
                sql=block(drop, self._move(back=True)),
                done=sql.SQL("({} OR NOT {})").format(
                    self._has_old_name, facts.relation_exists(self.renamed)
                ),
                locks=(Lock(LockMode.ACCESS_EXCLUSIVE, self.new_label),),
            ),
        )

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        table = sql.SQL("to_regclass({})").format(sql.Literal(self.identifier.as_string()))
        new = sql.Literal(self.renamed.as_string())
        return (
            Hazard(
                name=f"table {self.label}",
                sql=sql.SQL(
                    "SELECT (NOT EXISTS (SELECT FROM pg_class WHERE oid = {} AND relkind IN"
                    " ('r', 'p')) AND to_regclass({}) IS NULL)::int, NULL::text"
                ).format(table, new),
                finding=f"{{count}} table is not there: {self.label}.",
                none=f"{self.label} is a table.",
                advice="Correct the name and the schema in the plan.",
                stays=True,
            ),
            owned_by_others(self.identifier, self.label),
            Hazard(
                name=f"owner of the view {self.label}",
                sql=sql.SQL(
                    "SELECT count(*), min(pg_get_userbyid(c.relowner)) FROM pg_class AS c"
                    " JOIN pg_roles AS r ON r.rolname = current_user AND NOT r.rolsuper"
                    " WHERE c.oid = {} AND c.relkind IN ('r', 'p') AND c.relowner <> r.oid"
                    " AND pg_has_role(c.relowner, 'USAGE')"
                    " AND NOT (pg_has_role(c.relowner, 'MEMBER')"
                    " AND has_schema_privilege(c.relowner, c.relnamespace, 'CREATE'))"
                ).format(table),
                finding=(
                    f"{{count}} role owns {self.label} and cannot own the view of its old name."
                ),
                none=f"The owner of {self.label} can own the view of its old name.",
                advice=f"GRANT CREATE ON SCHEMA {self.schema} to the owner.",
                stays=True,
            ),
            name_taken(
                self.renamed,
                self.new_label,
                own=self.view_exists,
                name=f"new name of the table {self.label}",
                advice="Give the table another name in the plan, or rename what has it.",
            ),
            Hazard(
                name=f"schema of the table {self.new_label}",
                sql=sql.SQL(
                    "SELECT count(*), string_agg(s, ', ') FROM (VALUES ({}), ({})) AS v (s)"
                    " WHERE to_regnamespace(quote_ident(s)) IS NULL"
                    " OR NOT has_schema_privilege(to_regnamespace(quote_ident(s))::oid, 'CREATE')"
                ).format(sql.Literal(self.schema), sql.Literal(self.to_schema or self.schema)),
                finding="{count} schemas are missing, or this role may create nothing in them.",
                none=f"This role may create the table {self.new_label}, and the view in its place.",
                advice="CREATE SCHEMA, or GRANT CREATE ON SCHEMA to the engine's role.",
                stays=True,
            ),
            published(
                self.identifier,
                self.label,
                advice="Take it out of them first, and rename it at the subscribers too.",
            ),
            Hazard(
                name=f"publications of all tables, {self.label} among them",
                sql=sql.SQL(
                    "SELECT count(*), string_agg(t.pubname, ', ' ORDER BY t.pubname)"
                    " FROM pg_publication_tables AS t JOIN pg_publication AS p USING (pubname)"
                    " WHERE to_regclass(format('%I.%I', t.schemaname, t.tablename)) = {table}"
                    " AND NOT EXISTS (SELECT FROM pg_publication_rel AS r"
                    " WHERE r.prpubid = p.oid AND r.prrelid = {table})"
                ).format(table=table),
                finding=(
                    f"{{count}} publications of all tables, or of all in a schema, have "
                    f"{self.label}: subscribers know it by its name."
                ),
                none=f"No publication of all tables has {self.label}.",
                advice="Rename it at the subscribers too, or their replication stops.",
                blocks=False,
            ),
            Hazard(
                name=f"server of the table {self.label}",
                sql=sql.SQL(
                    "SELECT (current_setting('server_version_num')::int < 150000)::int,"
                    " current_setting('server_version')"
                ).format(),
                finding=(
                    "{count} server is older than PostgreSQL 15: there the view would read with "
                    "its owner's rights, whatever its readers may see."
                ),
                none="The server reads views with their readers' rights.",
                advice="Upgrade PostgreSQL first.",
                stays=True,
            ),
        )


@dataclass(frozen=True, kw_only=True)
class DropOldName(Step):
    """The view that ``RenameTable`` left under the old name goes: no release knows that name."""

    of: RenameTable
    """The step that renamed the table."""
    phases = frozenset({CONTRACT})
    restrictive = True

    def forward(self, plan: Plan) -> Actions:
        return (
            Statement(
                sql=block(sql.SQL("  DROP VIEW {};\n").format(self.of.identifier)),
                done=facts.no(self.of.view_exists),
                locks=(Lock(LockMode.ACCESS_EXCLUSIVE, self.of.label),),
            ),
        )

    def backward(self, plan: Plan) -> Actions:
        return (
            Statement(
                sql=block(self.of.make_view),
                done=self.of.view_exists,
                locks=(Lock(LockMode.ACCESS_SHARE, self.of.new_label),),
            ),
        )

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        return (
            Hazard(
                name=f"dependents of the old name {self.of.label}",
                sql=sql.SQL(
                    "SELECT count(DISTINCT r.ev_class),"
                    " string_agg(DISTINCT r.ev_class::regclass::text, ', ')"
                    " FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid"
                    " AND d.classid = 'pg_rewrite'::regclass WHERE d.deptype = 'n'"
                    " AND d.refobjid = to_regclass({}) AND r.ev_class <> d.refobjid AND {}"
                ).format(sql.Literal(self.of.identifier.as_string()), self.of.view_exists),
                finding=f"{{count}} views read the old name {self.of.label}.",
                none=f"No view reads the old name {self.of.label}.",
                advice=f"Let them read {self.of.new_label} first.",
            ),
        )


def block(*lines: sql.Composable) -> sql.Composed:
    """SQL of one transaction of a few statements, which may be composed as they run."""
    body = sql.SQL(
        "DECLARE change text; dependents text;\nBEGIN\n{}"
        "EXCEPTION\n"
        "  WHEN duplicate_table OR duplicate_object THEN\n"
        "    RAISE EXCEPTION '%. Nothing was changed. Rename that one, then retry.', SQLERRM;\n"
        "  WHEN dependent_objects_still_exist THEN\n"
        "    GET STACKED DIAGNOSTICS dependents = PG_EXCEPTION_DETAIL;\n"
        "    RAISE EXCEPTION '%: %. Nothing was changed. Drop or change what depends on it, then"
        " retry.', SQLERRM, dependents;\n"
        "END"
    ).format(sql.SQL("").join(lines))
    return sql.SQL("DO {}").format(sql.Literal(body.as_string()))
