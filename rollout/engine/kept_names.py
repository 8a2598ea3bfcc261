"""Which names the columns of a plan's tables have now: those of before their cutover, or after."""

from psycopg import sql

from rollout.engine.target import Connection
from rollout.plan import facts
from rollout.plan.plan import Plan
from rollout.plan.transition import triggers


def with_names_of_now(connection: Connection, plan: Plan) -> Plan:
    """The plan as the database has it: of tables that are cut over with the names of after that.

    Once a legacy column is dropped, the plan's modes say whether its name was handed on.
    """
    labels: set[str] = set()
    for table in plan.tables_keeping_names:
        (keeping, *_) = plan.keeping_names_of(table)
        (legacy,), (new,) = keeping.legacy, keeping.columns
        row = connection.execute(
            sql.SQL("SELECT {}, {}, to_regclass('rollout.modes') IS NOT NULL").format(
                facts.column_exists(table, new),
                # A column of that name alone may be the application's own.
                facts.all_of(
                    facts.column_exists(table, keeping.names_after_cutover[legacy]),
                    facts.function_exists(triggers(plan, table).function),
                ),
            )
        ).fetchone()
        is_before, is_after, has_modes = row or (True, False, False)
        if not is_before and (is_after or (has_modes and _reads_new(connection, plan))):
            labels.add(table.label)
    return plan.renamed(frozenset(labels))


def _reads_new(connection: Connection, plan: Plan) -> bool:
    row = connection.execute(
        "SELECT read_mode = 'new' FROM rollout.modes WHERE plan = %s", [plan.name]
    ).fetchone()
    return bool(row and row[0])
