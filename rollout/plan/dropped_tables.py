"""The step that takes a whole table away from the application, and keeps it."""

from dataclasses import dataclass

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.hazards import Hazard, owned_by_others, published
from rollout.plan.names import SCHEMA, identifier, in_target
from rollout.plan.plan import CONTRACT, Actions, Plan, Step
from rollout.plan.table import Named


@dataclass(frozen=True, kw_only=True)
class DropTable(Step, Named):
    """A table that nobody uses any more leaves its schema, and is kept whole as its own archive.

    It moves into the engine's schema under another name, with its rows, indexes, constraints,
    triggers, owned sequences and rights: nothing is copied, and the way back moves it back.
    """

    name: str
    """The table's name. It is none of the plan's tables."""
    schema: str = "public"
    """The schema of the table."""
    phases = frozenset({CONTRACT})
    destructive = True

    def archive_name(self, plan: Plan) -> str:
        """The name of the table in the engine's schema."""
        return identifier(plan.name, self.label, "dropped")

    def forward(self, plan: Plan) -> Actions:
        aside = sql.Identifier(SCHEMA, self.name)
        return (
            Statement(
                sql=self._move(
                    self.identifier, aside, SCHEMA, self.archive_name(plan), refused_by=aside
                ),
                done=self._is_archived(plan),
                locks=(Lock(LockMode.ACCESS_EXCLUSIVE, self.label),),
            ),
        )

    def backward(self, plan: Plan) -> Actions:
        archive = self.archive_name(plan)
        aside = sql.Identifier(self.schema, archive)
        return (
            Statement(
                sql=self._move(
                    in_target(archive), aside, self.schema, self.name, refused_by=self.identifier
                ),
                done=facts.no(self._is_archived(plan)),
                locks=(Lock(LockMode.ACCESS_EXCLUSIVE, f"{SCHEMA}.{archive}"),),
            ),
        )

    def _is_archived(self, plan: Plan) -> sql.Composable:
        return facts.relation_exists(in_target(self.archive_name(plan)))

    def _move(
        self,
        table: sql.Identifier,
        moved: sql.Identifier,
        schema: str,
        name: str,
        *,
        refused_by: sql.Identifier,
    ) -> sql.Composed:
        """SQL that gives a table a schema and a name, in one transaction, unless one is there."""
        body = sql.SQL(
            "BEGIN\n"
            "  IF to_regclass({there}) IS NOT NULL THEN\n"
            "    RAISE EXCEPTION 'Another relation is called %. Rename it, then retry.', {there};\n"
            "  END IF;\n"
            "  ALTER TABLE {table} SET SCHEMA {schema};\n"
            "  ALTER TABLE {moved} RENAME TO {name};\n"
            # One of its indexes or sequences.
            "EXCEPTION WHEN duplicate_table OR duplicate_object THEN\n"
            "  RAISE EXCEPTION '%. Nothing was changed. Rename that one, then retry.', SQLERRM;\n"
            "END"
        ).format(
            there=sql.Literal(refused_by.as_string()),
            table=table,
            schema=sql.Identifier(schema),
            moved=moved,
            name=sql.Identifier(name),
        )
        return sql.SQL("DO {}").format(sql.Literal(body.as_string()))

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        table = sql.SQL("to_regclass({})").format(sql.Literal(self.identifier.as_string()))
        archive = in_target(self.archive_name(plan)).as_string()
        return (
            Hazard(
                name=f"table {self.label}",
                sql=sql.SQL(
                    "SELECT (NOT EXISTS (SELECT FROM pg_class WHERE oid = {} AND relkind = 'r'"
                    # A partition would stay one, under its other name.
                    " AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = oid))"
                    " AND to_regclass({}) IS NULL)::int, NULL::text"
                ).format(table, sql.Literal(archive)),
                finding=(
                    f"{{count}} table is not there, has partitions, or has a parent: {self.label}."
                ),
                none=f"{self.label} is an ordinary table.",
                advice=(
                    "Correct the name and the schema in the plan. Drop a partitioned table by an "
                    "SQL file of your own; detach a partition, or a child of a table, first."
                ),
                stays=True,
            ),
            owned_by_others(self.identifier, self.label),
            Hazard(
                name=f"rights to bring {self.label} back",
                sql=sql.SQL(
                    "SELECT (NOT has_schema_privilege(n.oid, 'CREATE'))::int, n.nspname::text"
                    " FROM pg_namespace AS n WHERE n.nspname = {}"
                ).format(sql.Literal(self.schema)),
                finding=(
                    f"{{count}} schema takes no relation of this role: {self.schema}, which has "
                    f"the table {self.label}."
                ),
                none=f"The way back may create {self.label} in its schema again.",
                advice=f"GRANT CREATE ON SCHEMA {self.schema} to the engine's role.",
                stays=True,
            ),
            Hazard(
                name=f"dependents of the table {self.label}",
                sql=sql.SQL(
                    "SELECT count(*), string_agg(what, ', ' ORDER BY what) FROM ("
                    # Foreign keys of others; views and rules; partitions and heirs; policies of
                    # other tables; functions that take or return its rows; defaults of other
                    # tables that draw from its sequences.
                    "SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) AS what"
                    " FROM pg_depend AS d LEFT JOIN pg_constraint AS k"
                    " ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid"
                    " LEFT JOIN pg_trigger AS g ON d.classid = 'pg_trigger'::regclass"
                    " AND g.oid = d.objid LEFT JOIN pg_policy AS p"
                    " ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid"
                    " LEFT JOIN pg_attrdef AS f"
                    " ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid"
                    " WHERE (d.refclassid = 'pg_class'::regclass AND (d.refobjid = {table}"
                    " OR d.refobjid IN (SELECT c.oid FROM pg_depend AS o JOIN pg_class AS c"
                    " ON c.oid = o.objid AND c.relkind = 'S'"
                    " WHERE o.classid = 'pg_class'::regclass AND o.refobjid = {table}"
                    " AND o.refclassid = 'pg_class'::regclass))"
                    " OR d.refclassid = 'pg_type'::regclass AND d.refobjid IN"
                    " (SELECT t.oid FROM pg_class AS c JOIN pg_type AS t"
                    " ON t.oid = c.reltype OR t.typelem = c.reltype WHERE c.oid = {table}))"
                    " AND d.deptype = 'n'"
                    " AND coalesce(k.conrelid, g.tgrelid, p.polrelid, f.adrelid, 0) <> {table}"
                    ") AS dependents"
                ).format(table=table),
                finding=(
                    f"{{count}} objects use the table {self.label}: they would use "
                    "the archive, and nobody would notice."
                ),
                none=f"No other object uses the table {self.label}.",
                advice="Drop or change them first: the table never takes them along.",
            ),
            Hazard(
                name=f"foreign keys of the table {self.label}",
                sql=sql.SQL(
                    "SELECT count(*), string_agg(format('%s to %s', conname, confrelid::regclass),"
                    " ', ' ORDER BY conname) FROM pg_constraint"
                    " WHERE contype = 'f' AND conrelid = {table} AND confrelid <> {table}"
                ).format(table=table),
                finding=(
                    f"{{count}} foreign keys of {self.label} refer to other tables: the archive "
                    "would refuse deletes there, or lose rows with them."
                ),
                none=f"No foreign key of {self.label} refers to another table.",
                advice=(
                    "Drop them before phase 4: by an SqlFile of phase 3 whose down file adds them "
                    "again, for instance."
                ),
            ),
            published(
                self.identifier,
                self.label,
                advice="Take it out of them first: ALTER PUBLICATION … DROP TABLE.",
            ),
            Hazard(
                name=f"names in the archive of {self.label}",
                sql=sql.SQL(
                    "SELECT count(*), string_agg(i.relname, ', ' ORDER BY i.relname)"
                    " FROM (SELECT relname FROM pg_class"
                    " WHERE relnamespace = to_regnamespace({schema}){others}) AS i"
                    " WHERE i.relname IN (SELECT {name} UNION {own}) AND {table} IS NOT NULL"
                ).format(
                    schema=sql.Literal(SCHEMA),
                    name=sql.Literal(self.name),
                    own=self._kept_names,
                    others=sql.SQL("").join(
                        sql.SQL(" UNION ALL ({})").format(step._kept_names)
                        for phase in plan.phases
                        for step in phase.steps
                        if isinstance(step, DropTable) and step != self
                    ),
                    table=table,
                ),
                finding=(
                    f"{{count}} relations of the schema {SCHEMA}, or of another table that the "
                    f"plan drops, have the names of {self.label} or of its indexes or sequences."
                ),
                none=f"The schema {SCHEMA} has room for {self.label}, its indexes and sequences.",
                advice="Rename those of the table, or drop the archive of an earlier plan.",
                stays=True,
            ),
        )

    @property
    def _kept_names(self) -> sql.Composed:
        """A query of the names that the table's indexes and sequences keep in the archive."""
        return sql.SQL(
            "SELECT x.relname FROM pg_index AS n JOIN pg_class AS x ON x.oid = n.indexrelid"
            " WHERE n.indrelid = to_regclass({table})"
            " UNION SELECT s.relname FROM pg_depend AS d JOIN pg_class AS s"
            " ON s.oid = d.objid AND s.relkind = 'S'"
            " WHERE d.classid = 'pg_class'::regclass AND d.refobjid = to_regclass({table})"
        ).format(table=sql.Literal(self.identifier.as_string()))
