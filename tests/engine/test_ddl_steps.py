"""Every statement of every step with a session in its way, and its worker killed in its middle.

On the newest PostgreSQL and on the oldest that can be had here.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import conninfo, sql

from config.home import ROOT
from rollout.engine import catalog, ddl
from rollout.engine.target import Connection, Target, fetch_bool
from rollout.plan.actions import Lock, LockMode, Statement
from rollout.plan.switch import lock_key
from tests.engine.actions import NoControl, act, wait_until_somebody_waits
from tests.engine.plan_statements import PLAN, Place, fill, places, statements
from tests.engine.samples import BIGINT
from tests.support.bare_databases import clear, database_on

pytestmark = pytest.mark.slow

STATEMENTS = set(statements())
IN_ITS_WAY = {
    LockMode.ACCESS_EXCLUSIVE: LockMode.ACCESS_SHARE,
    LockMode.SHARE_ROW_EXCLUSIVE: LockMode.ROW_EXCLUSIVE,
    LockMode.SHARE_UPDATE_EXCLUSIVE: LockMode.SHARE_UPDATE_EXCLUSIVE,
    LockMode.ACCESS_SHARE: LockMode.ACCESS_EXCLUSIVE,
}
"""The weakest mode of somebody else that each mode waits for."""
MIDDLE = 20_251_124
"""The advisory lock that a command waits for at its end, before its transaction commits."""
HELD_UP = f"""
CREATE FUNCTION public.held_up() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock_shared({MIDDLE}); END $$;
CREATE EVENT TRIGGER held_up ON ddl_command_end EXECUTE FUNCTION public.held_up();
"""


@pytest.fixture(scope="module", params=["newest", "oldest"])
def either_server(request: pytest.FixtureRequest) -> Iterator[Target]:
    if request.param == "newest":
        yield request.getfixturevalue("target")
        return
    with database_on(request.getfixturevalue("old")) as oldest:
        yield oldest


@pytest.fixture
def engine(either_server: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setattr(ddl, "MAX_PAUSE_SECONDS", 0.01)
    with either_server.connect() as connection:
        clear(connection)
        fill(connection)
        yield connection
        connection.execute("DROP EVENT TRIGGER IF EXISTS held_up")


@contextmanager
def session_in_its_way(either_server: Target, place: Place) -> Iterator[Connection | None]:
    """Somebody's transaction that holds what the statement needs; None where it needs nothing."""
    statement = place.statement
    with either_server.connect() as other:
        other.execute("SET application_name = 'a report'")
        other.execute("BEGIN")
        if takes_an_advisory_lock(place):
            other.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock_key(PLAN.name)])
        elif statement.locks:
            other.execute(lock_in_the_way(statement.locks[0], concurrent=is_concurrent(place)))
        else:
            other.execute("ROLLBACK")
            yield None
            return
        yield other


def lock_in_the_way(lock: Lock, *, concurrent: bool) -> sql.Composed:
    # What is built concurrently waits for the writers that were there before it.
    mode = LockMode.ROW_EXCLUSIVE if concurrent else IN_ITS_WAY[lock.mode]
    return sql.SQL("LOCK TABLE {} IN {} MODE").format(
        sql.Identifier(lock.table), sql.SQL(mode.value)
    )


def is_concurrent(place: Place) -> bool:
    return "CONCURRENTLY" in place.statement.text


def is_to_be_done(connection: Connection, place: Place) -> bool:
    statement = place.statement
    if not statement.is_for(connection.info.server_version):
        return False
    return statement.done is None or not fetch_bool(connection, statement.done)


def carry_on(either_server: Target, engine: Connection, place: Place) -> None:
    act(either_server, engine, PLAN, place.phase, place.action)


def ask_again(either_server: Target, engine: Connection, place: Place) -> None:
    """What a retry does first: asks for each statement of the step before whether it is applied."""
    step_actions = (
        PLAN.forward(place.step) if place.direction == "forward" else PLAN.backward(place.step)
    )
    for action in step_actions.actions:
        if action == place.action:
            return
        if isinstance(action, Statement) and action.done is not None:
            act(either_server, engine, PLAN, place.phase, action)


def state_of(connection: Connection) -> Any:
    return (
        catalog.read(connection, catalog.labels_of(PLAN), in_full=True).tables,
        BIGINT.texts(connection),
    )


def test_every_statement_waits_behind_a_session_in_its_way_and_is_then_run(
    either_server: Target, engine: Connection
) -> None:
    before = state_of(engine)
    waited = 0
    for number, place in enumerate(places()):
        if number not in STATEMENTS or not is_to_be_done(engine, place):
            carry_on(either_server, engine, place)
            continue
        with session_in_its_way(either_server, place) as other:
            if other is None:
                carry_on(either_server, engine, place)
                continue
            failures: list[BaseException] = []
            thread = threading.Thread(target=run, args=(either_server, place, failures))
            thread.start()
            wait_until_somebody_waits(engine)
            other.execute("COMMIT")
            thread.join()
            assert failures == [], str(place)
        waited += 1
        if place.statement.done is not None:
            assert fetch_bool(engine, place.statement.done), str(place)
    assert state_of(engine) == before
    assert waited > 20


def run(either_server: Target, place: Place, failures: list[BaseException]) -> None:
    try:
        with either_server.connect() as connection:
            ddl.apply(connection, place.statement, NoControl())
    except BaseException as failure:
        failures.append(failure)


def test_a_worker_killed_in_the_middle_of_any_statement_leaves_nothing_that_a_retry_stumbles_over(
    either_server: Target, engine: Connection
) -> None:
    before = state_of(engine)
    killed = 0
    with workers(either_server) as process:
        for number, place in enumerate(places()):
            if number in STATEMENTS and is_to_be_done(engine, place):
                with held_up_in_the_middle(either_server, engine, place):
                    kill_a_worker_at(engine, process, number)
                killed += 1
                if place.statement.done is not None:
                    assert not fetch_bool(engine, place.statement.done), f"half of {place} was kept"
                ask_again(either_server, engine, place)
            carry_on(either_server, engine, place)
    assert state_of(engine) == before
    assert killed > 30


def takes_an_advisory_lock(place: Place) -> bool:
    """Whether the statement takes one itself, rather than a function that it makes."""
    text = place.statement.text
    return "pg_advisory_xact_lock" in text and "CREATE OR REPLACE FUNCTION" not in text


@contextmanager
def held_up_in_the_middle(
    either_server: Target, engine: Connection, place: Place
) -> Iterator[None]:
    """The session that runs the statement waits when all is done but the commit.

    What is built concurrently has no such moment: it waits for a writer, half built.
    """
    if is_concurrent(place) or takes_an_advisory_lock(place):
        with session_in_its_way(either_server, place) as other:
            yield
            assert other is not None
            other.execute("COMMIT")
        return
    engine.execute(HELD_UP)
    with either_server.connect() as other:
        other.execute("SELECT pg_advisory_lock(%s)", [MIDDLE])
        if (
            "CREATE" in place.statement.text
            or "ALTER" in place.statement.text
            or "DROP" in (place.statement.text)
        ):
            yield
            return
        # A statement that changes rows alone is held up by the rows; one that may find nothing to
        # change, as it names lookup rows that have their names already, by what it reads.
        mode = "ACCESS EXCLUSIVE" if place.statement.text.startswith("SELECT") else "EXCLUSIVE"
        other.execute("BEGIN")
        other.execute(f"LOCK TABLE kinds, states IN {mode} MODE".encode())
        yield
        other.execute("COMMIT")


@contextmanager
def workers(either_server: Target) -> Iterator[subprocess.Popen[str]]:
    """A process that forks a worker for each number of a statement that it is told."""
    address = conninfo.make_conninfo("", **either_server.parameters)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.engine.statement", address],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def kill_a_worker_at(engine: Connection, workers: subprocess.Popen[str], number: int) -> None:
    assert workers.stdin is not None
    assert workers.stdout is not None
    print(number, file=workers.stdin, flush=True)
    worker, session = map(int, workers.stdout.readline().split())
    wait_until_somebody_waits(engine)
    os.kill(worker, signal.SIGKILL)
    # What the server notices by itself only when it has something to say.
    engine.execute("SELECT pg_terminate_backend(%s, 10000)", [session])
    engine.execute("DROP EVENT TRIGGER IF EXISTS held_up")
    engine.execute("DROP FUNCTION IF EXISTS public.held_up")


def test_a_required_column_is_believed_only_when_it_is_validated(
    either_server: Target, engine: Connection
) -> None:
    """From PostgreSQL 18 on a column is called NOT NULL as soon as the constraint is there."""
    for place in places():
        if place.step.id == "require":
            break
        carry_on(either_server, engine, place)
    assert live(engine)["kind_id"].null
    step = place.step
    first, *rest = [
        action
        for action in PLAN.forward(step).actions
        if getattr(action, "is_for", lambda _: True)(engine.info.server_version)
    ]
    act(either_server, engine, PLAN, 3, first)
    assert live(engine)["kind_id"].null, "nobody has looked at the rows yet"
    engine.execute("BEGIN")
    engine.execute("ALTER TABLE things DISABLE TRIGGER USER")
    with pytest.raises(Exception, match=r"null value|violates check"), engine.transaction():
        engine.execute("UPDATE things SET kind_id = NULL WHERE id = 1")
    engine.execute("ROLLBACK")
    for action in PLAN.backward(step).actions:
        act(either_server, engine, PLAN, 3, action)
    assert not rest or is_to_be_done(engine, Place(3, "forward", step, first))
    for action in PLAN.forward(step).actions:
        act(either_server, engine, PLAN, 3, action)
    assert not live(engine)["kind_id"].null


def live(connection: Connection) -> Any:
    return catalog.live_columns(connection, ["things"])["things"]
