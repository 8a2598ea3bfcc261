"""How far a plan is in a database, by its catalog alone; and phases of tables without rows.

A new database, one of tests or CI, a colleague's: no console takes it through the phases. While the
plan's tables have no rows, the statements of a phase are all that there is to it.
"""

from collections.abc import Iterator

from psycopg import sql

from rollout.engine import ddl
from rollout.engine.catalog import compare, labels_of, read
from rollout.engine.control import NullControl
from rollout.engine.target import Connection, fetch_bool, install
from rollout.plan.actions import Statement
from rollout.plan.catalog import Catalog
from rollout.plan.cutovers import CutOver
from rollout.plan.errors import RolloutError
from rollout.plan.expected_catalogs import expected, known_parts
from rollout.plan.facts import relation_exists
from rollout.plan.kept_rights import FORGET_RIGHTS_OF_GONE_ROLES
from rollout.plan.mapping import mapping_table
from rollout.plan.plan import BACKFILL, EXPAND, Plan
from rollout.plan.removals import UseFeature
from rollout.plan.resolvers import resolver
from rollout.plan.sql_files import SqlFile
from rollout.plan.switch import switch_modes, use_feature
from rollout.plan.table import Table
from rollout.plan.transition import WriteBoth

_ANY_ROW = sql.SQL("SELECT EXISTS (SELECT FROM {})")


class NoTable(RolloutError):
    """A table of the plan does not exist in the database."""


class HasRows(RolloutError):
    """A table has rows, so that a phase needs a worker; ``table`` is its label."""

    def __init__(self, table: str) -> None:
        super().__init__(f"{table} has rows.")
        self.table = table


def phases_done(connection: Connection, plan: Plan) -> int:
    """How many phases the database is past, by the stage of the plan that its catalog is nearest.

    Stages that look the same count as the last of them, but for SQL files that are not applied.
    Raises NoTable.
    """
    for table in plan.tables:
        if not fetch_bool(connection, relation_exists(table.identifier)):
            raise NoTable(
                f"Table {table.label} of the plan {plan.name} does not exist. Run the migration "
                "that creates it first: it must be a dependency of this one."
            )
    live = read(connection, labels_of(plan))
    stages = list(_stages(plan))
    distances = [_distance(plan, catalog, live) for _, _, catalog in stages]
    nearest = distances.index(min(distances))
    while nearest + 1 < len(stages) and distances[nearest + 1] == distances[nearest]:
        done, steps, _ = stages[nearest]
        if steps < len(plan.phases[done].steps) and not _is_applied(connection, plan, done, steps):
            break
        nearest += 1
    return stages[nearest][0]


def adoptable_phase(connection: Connection, plan: Plan) -> int | None:
    """The last phase whose schema the database has in full; None for that of before phase 1."""
    live = read(connection, labels_of(plan))
    # What the engine keeps is made when the phases are recorded.
    live.has_engine = True
    return next(
        (
            number
            for number in reversed(range(EXPAND, len(plan.phases)))
            if not compare(plan, phases_done=number + 1, live=live)
            and compare(plan, phases_done=EXPAND, live=live)
        ),
        None,
    )


def adopt(connection: Connection, plan: Plan, phase: int) -> None:
    """Make what the engine keeps of a database that has the schema of a phase already.

    What is there stays: a database that migrations of the plan made has all of it.
    """
    install(connection)
    if phase >= BACKFILL:
        for lookup in plan.lookups:
            for statement in (mapping_table(lookup, plan.name), resolver(lookup, plan.name)):
                ddl.apply(connection, statement, NullControl())
    steps = [step for done in plan.phases[: phase + 1] for step in done.steps]
    if any(isinstance(step, CutOver) for step in steps):
        ddl.apply(connection, switch_modes(plan.name, read="new", write="new"), NullControl())
    elif any(isinstance(step, WriteBoth) for step in steps):
        ddl.apply(connection, switch_modes(plan.name, read="legacy", write="both"), NullControl())
    for step in steps:
        if isinstance(step, UseFeature):
            ddl.apply(connection, use_feature(plan.name, step.feature), NullControl())


def _stages(plan: Plan) -> Iterator[tuple[int, int, Catalog]]:
    """Phases done, steps done of the next one, and the catalog then."""
    for done, phase in enumerate(plan.phases):
        for steps in range(len(phase.steps) + 1):
            yield done, steps, expected(plan, done, steps)
    yield len(plan.phases), 0, expected(plan, len(plan.phases))


def _distance(plan: Plan, stage: Catalog, live: Catalog) -> int:
    """How many parts differ, of those that the plan knows."""
    return sum(
        stage.tables.get(table, {}).get(part) != live.tables.get(table, {}).get(part)
        for table, part in known_parts(plan)
    )


def _is_applied(connection: Connection, plan: Plan, phase: int, position: int) -> bool:
    """Whether a step is in place, as far as its catalog does not tell: that of an SQL file."""
    step = plan.phases[phase].steps[position]
    return not isinstance(step, SqlFile) or all(
        fetch_bool(connection, action.done) for action in step.ups if action.done is not None
    )


def run_phases(connection: Connection, plan: Plan, first: int, last: int) -> None:
    """Run the statements of phases. Raises HasRows, and what ``ddl.apply`` raises."""
    _refuse_rows(connection, plan.tables)
    install(connection)
    for statement in statements(plan, first, last):
        ddl.apply(connection, statement, NullControl())


def undo_phases(connection: Connection, plan: Plan, first: int, last: int) -> None:
    """Run the statements that undo phases, the last first. Raises as ``run_phases`` does."""
    _refuse_rows(connection, plan.tables)
    install(connection)
    ddl.apply(connection, FORGET_RIGHTS_OF_GONE_ROLES, NullControl())
    for statement in statements(plan, first, last, back=True):
        ddl.apply(connection, statement, NullControl())


def statements(plan: Plan, first: int, last: int, *, back: bool = False) -> Iterator[Statement]:
    """The statements of phases, in order; passes over rows are left out."""
    order = -1 if back else 1
    for number in range(first, last + 1)[::order]:
        for step in plan.phases[number].steps[::order]:
            actions = (plan.backward(step) if back else plan.forward(step)).actions
            yield from (action for action in actions if isinstance(action, Statement))


def _refuse_rows(connection: Connection, tables: tuple[Table, ...]) -> None:
    for table in tables:
        row = connection.execute(_ANY_ROW.format(table.identifier)).fetchone()
        if row and row[0]:
            raise HasRows(table.label)
