"""A second connection watches what a statement waits for."""

import json

import pytest

from rollout.engine import ddl
from rollout.engine.ddl import LockNotObtained
from rollout.engine.statement_activities import StatementActivity
from rollout.engine.target import Connection, Target
from tests.engine.test_statement_activities import Looking
from tests.engine.things import add_column

pytestmark = pytest.mark.usefixtures("things")


def test_only_the_session_that_is_waited_for_is_reported_with_what_it_holds(
    few_attempts: None, target: Target, connection: Connection, app: Connection
) -> None:
    connection.execute("CREATE TABLE others ()")
    seen: list[StatementActivity] = []
    control = Looking(seen.append)
    with target.connect() as other, other.transaction(), app.transaction():
        other.execute("SELECT FROM others")
        app.execute("LOCK TABLE things IN ROW EXCLUSIVE MODE")
        with pytest.raises(LockNotObtained):
            ddl.apply(connection, add_column(), control)
    last = seen[-1]
    assert (last.attempt, last.attempts) == (2, 2)
    assert last.session == connection.info.backend_pid
    assert last.awaits == "ACCESS EXCLUSIVE on things"
    (blocker,) = last.blockers
    assert blocker.pid == app.info.backend_pid
    assert blocker.application == "the application"
    assert blocker.user == app.info.user
    assert blocker.state == "idle in transaction"
    assert blocker.locks == ("ROW EXCLUSIVE on things",)
    assert blocker.query == "LOCK TABLE things IN ROW EXCLUSIVE MODE"
    assert any(activity.next_try_at for activity in seen), "the next attempt is announced"
    assert StatementActivity.of(json.loads(json.dumps(last.as_data()))) == last
