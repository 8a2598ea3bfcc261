"""What a statement waits for, and how far it is."""

from collections.abc import Callable

import pytest

from rollout.engine import ddl
from rollout.engine.statement_activities import StatementActivity
from rollout.engine.target import Connection, Target
from rollout.plan import CreateIndex
from rollout.plan.actions import Statement
from tests.engine.actions import NoControl
from tests.engine.own_server import server
from tests.engine.samples import BIGINT
from tests.engine.things import add_column

pytestmark = pytest.mark.usefixtures("things")


class Looking(NoControl):
    """Is told where the statement stands."""

    def __init__(self, on_activity: Callable[[StatementActivity], object]) -> None:
        super().__init__()
        self.on_activity = on_activity

    def report_activity(self, activity: StatementActivity | None) -> None:
        if activity is not None:
            self.on_activity(activity)


def test_a_build_that_waits_for_an_old_transaction_names_it_and_tells_how_far_it_is(
    target: Target, connection: Connection, app: Connection
) -> None:
    seen: list[StatementActivity] = []

    def let_go(activity: StatementActivity) -> None:
        seen.append(activity)
        if activity.blockers:
            app.execute("COMMIT")

    step = CreateIndex(
        id="i", description="", table=BIGINT.table, name="things_kind", columns=("kind",)
    )
    _clear, build = step.forward(BIGINT.plan)
    assert isinstance(build, Statement)
    app.execute("BEGIN")
    app.execute("INSERT INTO things (id) VALUES (1)")
    ddl.apply(connection, build, Looking(let_go))
    waited = next(activity for activity in seen if activity.blockers)
    assert waited.attempt == 0, "it has no lock timeout"
    assert waited.blockers[0].pid == app.info.backend_pid
    assert waited.progress is not None
    assert str(waited.progress).startswith("waiting for writers before build")
    assert waited.progress.total == 1


def test_a_prepared_transaction_in_the_way_has_its_name_told() -> None:
    with server({"max_prepared_transactions": "2"}) as (own, _data), own.connect() as connection:
        BIGINT.create(connection)
        connection.execute("BEGIN; LOCK TABLE things IN ACCESS SHARE MODE")
        connection.execute("PREPARE TRANSACTION 'forgotten'")
        seen: list[StatementActivity] = []

        def end_it(activity: StatementActivity) -> None:
            if activity.blockers and not seen:
                seen.append(activity)
                with own.connect() as other:
                    other.execute("ROLLBACK PREPARED 'forgotten'")

        ddl.apply(connection, add_column(), Looking(end_it))
        assert "'forgotten'" in str(seen[0])
        assert seen[0].blockers[0].pid == 0
