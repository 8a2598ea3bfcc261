"""The steps that build indexes and views while the application keeps running."""

from dataclasses import dataclass
from datetime import timedelta

from psycopg import sql

from rollout.plan import facts, partitions
from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.catalog import POPULATED, VIEW, Catalog, Part, index_text
from rollout.plan.hazards import Hazard, duplicates_in, duplicates_of, partitions_of
from rollout.plan.names import code, identifier
from rollout.plan.plan import CONTRACT, ENFORCE, Actions, Plan, Step
from rollout.plan.removal_hazards import replica_identity
from rollout.plan.table import Named, Table

# What an interrupted build or rebuild has left; a rebuild calls its half ``…_ccnew``.
_BROKEN = """SELECT format('DROP INDEX CONCURRENTLY %s', x.indexrelid::regclass)
  FROM pg_index AS x JOIN pg_class AS c ON c.oid = x.indexrelid
 WHERE x.indrelid = {table} AND NOT x.indisvalid
   AND (c.relname = {name} OR starts_with(c.relname, {pattern}))"""


def create_index(
    table: Table, name: str, columns: tuple[str, ...], *, unique: bool = False
) -> Actions:
    if table.partitioned:
        return partitions.create_index(table, name, columns, unique=unique)
    valid = facts.index_is_valid(table.schema, name)
    locks = (Lock(LockMode.SHARE_UPDATE_EXCLUSIVE, table.label),)
    broken = sql.SQL(_BROKEN).format(
        table=table.regclass, name=sql.Literal(name), pattern=sql.Literal(f"{name}_cc")
    )
    return (
        Statement(
            sql=broken,
            done=sql.SQL("NOT EXISTS ({})").format(broken),
            locks=locks,
            long=True,
            generates=True,
        ),
        Statement(
            sql=sql.SQL("CREATE {}INDEX CONCURRENTLY {} ON {} ({})").format(
                sql.SQL("UNIQUE " if unique else ""),
                sql.Identifier(name),
                table.identifier,
                sql.SQL(", ").join(sql.Identifier(column) for column in columns),
            ),
            done=valid,
            locks=locks,
            long=True,
            # The build reads the table, and once more for what was written meanwhile.
            scans=2,
            refused_by=duplicates_of(table, columns) if unique else None,
        ),
    )


def drop_index(table: Table, name: str) -> Actions:
    if table.partitioned:
        return partitions.drop_index(table, name)
    index = sql.Identifier(table.schema, name)
    return (
        Statement(
            sql=sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(index),
            done=facts.no(facts.relation_exists(index)),
            locks=(Lock(LockMode.SHARE_UPDATE_EXCLUSIVE, table.label),),
            long=True,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class CreateIndex(Step):
    """An index, built concurrently; what an interrupted build left is cleared away first."""

    table: Table
    """The table that is indexed."""
    name: str
    """The name of the index."""
    columns: tuple[str, ...]
    """Its columns, in order."""
    unique: bool = False
    """Whether it is a unique index."""
    phases = frozenset({ENFORCE, CONTRACT})

    @property
    def restrictive(self) -> bool:  # type: ignore[override]
        """Two rows of the same values are refused from now on."""
        return self.unique

    @property
    def needs(self) -> tuple[str, ...]:
        return self.columns

    def forward(self, plan: Plan) -> Actions:
        return create_index(self.table, self.name, self.columns, unique=self.unique)

    def backward(self, plan: Plan) -> Actions:
        return drop_index(self.table, self.name)

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        text = index_text(self.columns, unique=self.unique)
        catalog.put(self.table.label, Part("index", self.name), text)

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        duplicates = (duplicates_of(self.table, self.columns),) if self.unique else ()
        return (*duplicates, partitions_of(self.table))


@dataclass(frozen=True, kw_only=True)
class DropIndex(Step):
    """An index of legacy columns goes, concurrently; its way back builds it again."""

    table: Table
    """The table of the index."""
    name: str
    """The name of the index."""
    columns: tuple[str, ...]
    """Its columns, in order: the rollback builds it again."""
    unique: bool = False
    """Whether it is a unique index."""
    phases = frozenset({CONTRACT})
    destructive = True
    is_of_before = True

    @property
    def needs(self) -> tuple[str, ...]:
        return self.columns

    def forward(self, plan: Plan) -> Actions:
        return drop_index(self.table, self.name)

    def backward(self, plan: Plan) -> Actions:
        return create_index(self.table, self.name, self.columns, unique=self.unique)

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        return (partitions_of(self.table), replica_identity(self.table, self.columns))

    def assume(self, plan: Plan, catalog: Catalog) -> None:
        text = index_text(self.columns, unique=self.unique)
        catalog.put(self.table.label, Part("index", self.name), text)

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        catalog.take(self.table.label, Part("index", self.name))


@dataclass(frozen=True, kw_only=True)
class CreateMaterializedView(Step, Named):
    """A materialized view, with the unique index that lets it be refreshed while it is read."""

    name: str
    """The name of the view."""
    query: str
    """Its query."""
    key: tuple[str, ...]
    """The columns of its unique index."""
    schema: str = "public"
    """The schema that it is created in."""
    refresh_every: timedelta | None = None
    """How often it is refreshed once its phase is done; None leaves that to others."""
    phases = frozenset({CONTRACT})

    @property
    def refresh(self) -> Statement:
        """Brings the view up to date while it is read."""
        return Statement(
            sql=sql.SQL("REFRESH MATERIALIZED VIEW CONCURRENTLY {}").format(self.identifier),
            done=None,
            long=True,
        )

    def forward(self, plan: Plan) -> Actions:
        index = identifier(self.name, "key")
        return (
            Statement(
                sql=sql.SQL(
                    "CREATE MATERIALIZED VIEW {} AS\n{};\nCREATE UNIQUE INDEX {} ON {} ({})"
                ).format(
                    self.identifier,
                    code(self.query),
                    sql.Identifier(index),
                    self.identifier,
                    sql.SQL(", ").join(sql.Identifier(column) for column in self.key),
                ),
                done=facts.all_of(
                    facts.relation_exists(self.identifier), facts.index_is_valid(self.schema, index)
                ),
            ),
        )

    def backward(self, plan: Plan) -> Actions:
        # A refresh of ours may take minutes, and is of no use to what goes: it is called off.
        return (
            Statement(
                sql=sql.SQL(
                    "SELECT pg_cancel_backend(pid)"
                    " FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
                    " WHERE l.relation = to_regclass({}) AND l.mode = 'ExclusiveLock'"
                    " AND a.datname = current_database() AND a.application_name = 'rollout';\n"
                    "DROP MATERIALIZED VIEW IF EXISTS {}"
                ).format(sql.Literal(self.identifier.as_string()), self.identifier),
                done=facts.no(facts.relation_exists(self.identifier)),
            ),
        )

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        catalog.put(self.label, VIEW, POPULATED)
        index = Part("index", identifier(self.name, "key"))
        catalog.put(self.label, index, index_text(self.key, unique=True))

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        return (duplicates_in(self.label, self.query, self.key),)
