"""The step that gives a column a default, and the one that it had before back again."""

from dataclasses import dataclass

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Fill, Lock, LockMode, Statement
from rollout.plan.attributes import ATTRIBUTES_TABLE, COLUMN
from rollout.plan.names import code
from rollout.plan.plan import BACKFILL, CONTRACT, ENFORCE, EXPAND, Actions, Plan, Step
from rollout.plan.schema import AddColumns
from rollout.plan.table import Table
from rollout.plan.updates import Assignment


@dataclass(frozen=True, kw_only=True)
class SetDefault(Step):
    """A column's default, and with ``fill`` the same value for the rows that have none.

    The default that it had is kept in the target, in the transaction that replaces it.
    """

    table: Table
    """The table of the column."""
    column: str
    """The column."""
    default: str
    """SQL of the default, such as ``'new'`` in its quotes, or ``now()``."""
    fill: bool = True
    """Whether rows with NULL get it, in batches; only for a column that the plan adds."""
    phases = frozenset({EXPAND, BACKFILL, ENFORCE, CONTRACT})

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.column,)

    def is_added_by(self, plan: Plan) -> bool:
        """Whether the plan adds the column, and no translation fills it."""
        return any(
            isinstance(step, AddColumns)
            and step.table == self.table
            and self.column in step.columns
            for phase in plan.phases
            for step in phase.steps
        )

    @property
    def _alter(self) -> sql.Composed:
        """Partitions keep defaults of their own: rows come to them by way of their parent."""
        return sql.SQL("ALTER TABLE {}{}").format(
            sql.SQL("ONLY " if self.table.partitioned else ""), self.table.identifier
        )

    @property
    def _locks(self) -> tuple[Lock, ...]:
        return (Lock(LockMode.ACCESS_EXCLUSIVE, self.table.label),)

    def _kept(self, plan: Plan) -> sql.Composed:
        """SQL condition: a kept statement is the one of this column."""
        return sql.SQL("plan = {} AND table_label = {}").format(sql.Literal(plan.name), self._place)

    @property
    def _place(self) -> sql.Literal:
        # Under the table's own label a drop of its legacy columns writes everything again.
        names = (self.table.schema, self.table.name, self.column)
        return sql.Literal(sql.Identifier(*names).as_string())

    def _is_kept(self, plan: Plan) -> sql.Composable:
        return sql.SQL("EXISTS (SELECT FROM {} WHERE {})").format(
            ATTRIBUTES_TABLE, self._kept(plan)
        )

    def forward(self, plan: Plan) -> Actions:
        body = sql.SQL(
            "DECLARE path text := current_setting('search_path');\nBEGIN\n"
            # What is printed names every schema then.
            "  PERFORM set_config('search_path', 'pg_catalog', true);\n"
            "  INSERT INTO {kept} (plan, table_label, position, stage, kind, object, statement)\n"
            "    SELECT {plan}, {place}, 0, {stage}, 'default', '', format('%s ALTER COLUMN %I %s',"
            " {alter}, attname,\n"
            "      coalesce('SET DEFAULT ' || pg_get_expr(adbin, adrelid), 'DROP DEFAULT'))\n"
            "    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum\n"
            "    WHERE attrelid = {table} AND attname = {column} ON CONFLICT DO NOTHING;\n"
            "  PERFORM set_config('search_path', path, true);\nEND"
        ).format(
            kept=ATTRIBUTES_TABLE,
            plan=sql.Literal(plan.name),
            place=self._place,
            stage=sql.Literal(COLUMN),
            alter=sql.Literal(self._alter.as_string()),
            table=self.table.regclass,
            column=sql.Literal(self.column),
        )
        change = Statement(
            sql=sql.SQL("DO {};\n{} ALTER COLUMN {} SET DEFAULT {}").format(
                sql.Literal(body.as_string()),
                self._alter,
                sql.Identifier(self.column),
                code(self.default),
            ),
            done=facts.all_of(
                self._is_kept(plan), facts.column_has_default(self.table, self.column)
            ),
            locks=self._locks,
        )
        if not self.fill or not self.is_added_by(plan):
            return (change,)
        fill = Fill(
            kind="default",
            table=self.table,
            # Without a cast, which would cut off what is too long for the column.
            assignments=(Assignment(self.column, sql.SQL("({})").format(code(self.default))),),
            only=sql.SQL("{} IS NULL").format(sql.Identifier("t", self.column)),
        )
        return change, fill

    def backward(self, plan: Plan) -> Actions:
        """The default alone: what was filled goes with the column, when phase 1 is undone."""
        body = sql.SQL(
            "DECLARE old text;\nBEGIN\n"
            "  DELETE FROM {kept} WHERE {own} RETURNING statement INTO old;\n"
            "  EXECUTE old;\nEND"
        ).format(kept=ATTRIBUTES_TABLE, own=self._kept(plan))
        return (
            Statement(
                sql=sql.SQL("DO {}").format(sql.Literal(body.as_string())),
                done=facts.no(self._is_kept(plan)),
                locks=self._locks,
            ),
        )

    def defaults_by_data(self, plan: Plan) -> dict[tuple[str, str], str]:
        return {(self.table.label, self.column): self.default}
