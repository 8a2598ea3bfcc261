"""The foreign key of a lookup's or an extraction's column.

PostgreSQL 18 adds one NOT VALID to a partitioned table too; an older server would scan every
partition under the lock. There each partition that holds rows gets the key by itself, NOT VALID,
and has it validated while writers continue; the table's then takes these over without reading a
row.
"""

from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import EVERY_SERVER, NO_END, Lock, LockMode, Statement
from rollout.plan.catalog import DEFERRABLE, Catalog, Part, foreign_key_text
from rollout.plan.extractions import Extract
from rollout.plan.hazards import Hazard, orphans, types_differ
from rollout.plan.names import django_name
from rollout.plan.plan import ENFORCE, Actions, Plan, Step
from rollout.plan.translations import Lookup, Translation

# The first version that adds one NOT VALID to a partitioned table.
_TO_WHOLE_TABLES_SINCE = 18
_PARTS = """
WITH parts AS (
  SELECT p.relid::regclass AS relation, k.oid IS NOT NULL AS has_key, k.convalidated, k.conparentid
    FROM pg_partition_tree({table}) AS p JOIN pg_class AS c ON c.oid = p.relid
    LEFT JOIN pg_constraint AS k ON k.conrelid = p.relid AND k.contype = 'f' AND k.conname = {name}
   WHERE p.isleaf AND c.relkind = 'r'
)
"""


@dataclass(frozen=True, kw_only=True)
class AddForeignKey(Step):
    """Adds the foreign key of a lookup or an extraction NOT VALID, then validates it while writes
    continue.

    It is deferrable, and has the name that Django would give it unless ``constraint`` names it.
    """

    lookup: Lookup | Extract
    """The lookup or extraction whose column gets the foreign key."""
    constraint: str = ""
    """Its name; empty for the name that Django would give it."""
    phases = frozenset({ENFORCE})
    restrictive = True

    @property
    def translations(self) -> tuple[Translation, ...]:
        return (self.lookup,)

    @property
    def name(self) -> str:
        lookup = self.lookup
        return self.constraint or django_name(
            lookup.table.name, (lookup.column,), f"_fk_{lookup.lookup_table}_id"
        )

    @property
    def _definition(self) -> sql.Composed:
        return sql.SQL("FOREIGN KEY ({}) REFERENCES {} (id) DEFERRABLE INITIALLY DEFERRED").format(
            sql.Identifier(self.lookup.column), self.lookup.lookup_sql
        )

    def _of_both(self, mode: LockMode) -> tuple[Lock, ...]:
        return tuple(Lock(mode, t) for t in (self.lookup.table.label, self.lookup.lookup_label))

    def forward(self, plan: Plan) -> Actions:
        table = self.lookup.table
        servers = (_TO_WHOLE_TABLES_SINCE, NO_END) if table.partitioned else EVERY_SERVER
        return (
            *(self._of_partitions() if table.partitioned else ()),
            Statement(
                sql=sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {} NOT VALID").format(
                    table.identifier, sql.Identifier(self.name), self._definition
                ),
                done=facts.constraint_exists(table, self.name),
                locks=self._of_both(LockMode.SHARE_ROW_EXCLUSIVE),
                servers=servers,
            ),
            self._validated(
                sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
                    table.identifier, sql.Identifier(self.name)
                ),
                done=facts.constraint_exists(table, self.name, validated=True),
                servers=servers,
            ),
        )

    def _validated(
        self,
        statement: sql.Composed,
        *,
        done: sql.Composable,
        servers: tuple[int, int],
        generates: bool = False,
    ) -> Statement:
        return Statement(
            sql=statement,
            done=done,
            locks=(
                Lock(LockMode.SHARE_UPDATE_EXCLUSIVE, self.lookup.table.label),
                Lock(LockMode.ROW_SHARE, self.lookup.lookup_label),
            ),
            long=True,
            # Every row is joined to its lookup row, which takes about as long as reading it.
            scans=2,
            servers=servers,
            generates=generates,
            refused_by=orphans(self.lookup),
        )

    def _of_partitions(self) -> Actions:
        """Until the last statement, in which the table has the key, its partitions have it."""
        servers, both = (0, _TO_WHOLE_TABLES_SINCE), self._of_both(LockMode.SHARE_ROW_EXCLUSIVE)
        missing = self._over_partitions(
            "SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', relation, {name},"
            " {definition}) FROM parts WHERE NOT has_key AND NOT {exists} ORDER BY relation::text"
        )
        unvalidated = self._over_partitions(
            "SELECT format('ALTER TABLE %s VALIDATE CONSTRAINT %I', relation, {name})"
            " FROM parts WHERE NOT convalidated ORDER BY relation::text"
        )
        # A partition that was made meanwhile would be scanned: the phase is done again.
        whole = self._over_partitions(
            "SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', {table}::regclass, {name},"
            " {definition}) WHERE NOT {exists}"
            " AND NOT EXISTS (SELECT FROM parts WHERE convalidated IS NOT true)"
        )
        exists = facts.constraint_exists(self.lookup.table, self.name)
        return (
            Statement(
                sql=missing, done=_none(missing), locks=both, servers=servers, generates=True
            ),
            self._validated(unvalidated, done=_none(unvalidated), servers=servers, generates=True),
            Statement(sql=whole, done=exists, locks=both, servers=servers, generates=True),
        )

    def _over_partitions(self, query: LiteralString) -> sql.Composed:
        """A query of statements over the partitions that hold rows."""
        table = self.lookup.table
        return sql.SQL(_PARTS + query).format(
            table=table.regclass,
            name=sql.Literal(self.name),
            definition=sql.Literal(self._definition.as_string()),
            exists=facts.constraint_exists(table, self.name),
        )

    def backward(self, plan: Plan) -> Actions:
        table = self.lookup.table
        locks = self._of_both(LockMode.ACCESS_EXCLUSIVE)
        dropped = Statement(
            sql=sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
                table.identifier, sql.Identifier(self.name)
            ),
            done=facts.no(facts.constraint_exists(table, self.name)),
            locks=locks,
        )
        if not table.partitioned:
            return (dropped,)
        # What the table's never took over.
        left = self._over_partitions(
            "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', relation, {name})"
            " FROM parts WHERE has_key AND conparentid = 0 ORDER BY relation::text"
        )
        return (
            dropped,
            Statement(
                sql=left,
                done=_none(left),
                locks=locks,
                servers=(0, _TO_WHOLE_TABLES_SINCE),
                generates=True,
            ),
        )

    def recatalog(self, plan: Plan, catalog: Catalog) -> None:
        text = foreign_key_text((self.lookup.column,), self.lookup.lookup_label, ("id",))
        text += DEFERRABLE
        catalog.put(self.lookup.table.label, Part("constraint", self.name), text)

    def hazards(self, plan: Plan) -> tuple[Hazard, ...]:
        return (orphans(self.lookup), types_differ(self.lookup))


def _none(query: sql.Composed) -> sql.Composed:
    return sql.SQL("NOT EXISTS ({})").format(query)
