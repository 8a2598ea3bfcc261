"""Statements that wait briefly, try again, and are believed only when the catalog shows them."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from rollout.engine import ddl
from rollout.engine.control import Interrupted
from rollout.engine.ddl import LockNotObtained, NotApplied
from rollout.engine.target import Connection, Target
from rollout.plan import CreateIndex, facts
from rollout.plan.actions import Statement
from rollout.plan.switch import lock_key, switch_modes
from tests.engine.actions import NoControl, StopAfter, wait_until_somebody_waits
from tests.engine.own_server import server
from tests.engine.samples import BIGINT, COMPOSITE, ODD, Sample
from tests.engine.things import add_column
from tests.support.processes import wait_until

pytestmark = pytest.mark.usefixtures("things")
TABLE = BIGINT.table


def recording(seen: str, *, long: bool) -> Statement:
    """A statement that writes its own lock and statement timeout down."""
    return Statement(
        sql=sql.SQL(
            "CREATE TABLE {} AS SELECT current_setting('lock_timeout') AS lock,"
            " current_setting('statement_timeout') AS statement"
        ).format(sql.Identifier(seen)),
        done=None,
        long=long,
    )


class Watching(NoControl):
    """Does something when the work says what it waits for."""

    def __init__(self, on_wait: Callable[[str], object]) -> None:
        super().__init__()
        self.on_wait = on_wait

    def report_wait(self, reason: str) -> None:
        super().report_wait(reason)
        if reason:
            self.on_wait(reason)


def test_a_statement_is_run_once_and_skipped_when_the_catalog_shows_it(
    connection: Connection,
) -> None:
    assert ddl.apply(connection, add_column(), NoControl()) is True
    assert ddl.apply(connection, add_column(), NoControl()) is False


def test_the_parameters_of_a_connection_are_read_once_for_all_of_its_statements(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ddl.apply(connection, add_column(), NoControl())
    connection.execute("ALTER TABLE things DROP COLUMN extra")
    again = property(lambda _: pytest.fail("read again"))
    monkeypatch.setattr(psycopg.ConnectionInfo, "dsn", again)
    assert ddl.apply(connection, add_column(), NoControl())


def test_a_statement_whose_result_is_not_in_the_catalog_is_found_out(
    connection: Connection,
) -> None:
    pretends = Statement(sql=sql.SQL("SELECT 1").format(), done=facts.column_exists(TABLE, "extra"))
    with pytest.raises(NotApplied, match="not in the catalog"):
        ddl.apply(connection, pretends, NoControl())


def test_a_statement_that_fails_leaves_nothing_of_itself(connection: Connection) -> None:
    both = Statement(
        sql=sql.SQL("ALTER TABLE things ADD COLUMN extra text; SELECT 1 / 0").format(), done=None
    )
    with pytest.raises(psycopg.errors.DivisionByZero):
        ddl.apply(connection, both, NoControl())
    assert ddl.apply(connection, add_column(), NoControl()) is True


def test_a_lock_in_the_way_is_waited_for_and_the_work_done_when_it_is_let_go(
    connection: Connection, app: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ddl, "MAX_PAUSE_SECONDS", 0.01)
    app.execute("BEGIN; LOCK TABLE things IN ACCESS SHARE MODE")
    control = Watching(lambda _reason: app.execute("COMMIT"))
    assert ddl.apply(connection, add_column(), control) is True
    assert next(filter(None, control.waits)).startswith("a lock, attempt 1 of 30")
    assert control.waits[-1] == ""


@pytest.mark.slow
def test_an_autovacuum_of_the_table_yields_before_the_application_waits() -> None:
    with server({"autovacuum_naptime": "1s"}) as (target, _), target.connect() as connection:
        BIGINT.create(connection)
        # It begins as soon as there is one dead row, and takes minutes.
        connection.execute(
            "ALTER TABLE things SET (autovacuum_vacuum_threshold = 0,"
            " autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100,"
            " autovacuum_vacuum_cost_limit = 1)"
        )
        connection.execute(
            "INSERT INTO things (id, kind)"
            " SELECT n, repeat('x', 99) FROM generate_series(10, 9999) AS n"
        )
        connection.execute("UPDATE things SET kind = 'y'")
        wait_until(
            lambda: bool(connection.execute("SELECT FROM pg_stat_progress_vacuum").rowcount),
            seconds=60,
        )
        control = NoControl()
        assert ddl.apply(connection, add_column(), control) is True
        assert not any("attempt 2" in wait for wait in control.waits)


@pytest.mark.slow
@pytest.mark.parametrize("sample", [BIGINT, COMPOSITE, ODD], ids=str)
def test_a_lock_that_is_never_let_go_is_named_with_its_session(
    sample: Sample, few_attempts: None, connection: Connection, app: Connection
) -> None:
    if sample is not BIGINT:
        sample.create(connection)
    with app.transaction():
        sample.count(app)
        with pytest.raises(LockNotObtained) as refused:
            ddl.apply(connection, add_column(sample), NoControl())
        pid = app.info.backend_pid
        assert f"PID {pid} (the application, idle in transaction" in str(refused.value)
        assert "Nothing was changed" in str(refused.value)
    assert ddl.apply(connection, add_column(sample), NoControl()) is True


def test_the_holder_of_the_modes_is_named_when_a_switch_gives_up(
    few_attempts: None, connection: Connection, app: Connection
) -> None:
    switch = switch_modes("some plan", read="legacy", write="both")
    with app.transaction():
        app.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock_key("some plan")])
        with pytest.raises(LockNotObtained, match=f"PID {app.info.backend_pid} "):
            ddl.apply(connection, switch, NoControl())
    assert ddl.apply(connection, switch, NoControl()) is True


def test_the_wait_for_a_lock_can_be_interrupted(connection: Connection, app: Connection) -> None:
    with app.transaction():
        BIGINT.count(app)
        with pytest.raises(Interrupted):
            ddl.apply(connection, add_column(), StopAfter(1))


@pytest.mark.parametrize(("long", "timeouts"), [(True, ("0", "0")), (False, ("200ms", "0"))])
def test_only_a_short_statement_gets_a_lock_timeout_and_none_a_statement_timeout(
    long: bool, timeouts: tuple[str, str], connection: Connection
) -> None:
    connection.execute("SET lock_timeout = '7s'; SET statement_timeout = '7s'")
    ddl.apply(connection, recording("seen", long=long), NoControl())
    assert connection.execute("SELECT lock, statement FROM seen").fetchone() == timeouts


def test_a_long_statement_waits_longer_than_a_lock_timeout(
    target: Target, connection: Connection, app: Connection
) -> None:
    """CREATE INDEX CONCURRENTLY waits for the transactions that were there before it."""
    step = CreateIndex(id="i", description="", table=TABLE, name="things_kind", columns=("kind",))
    _clear, build = step.forward(BIGINT.plan)
    assert isinstance(build, Statement)
    app.execute("BEGIN")
    app.execute("INSERT INTO things (id) VALUES (1)")
    with target.connect() as other:
        engine = threading.Thread(target=ddl.apply, args=(other, build, NoControl()))
        engine.start()
        wait_until_somebody_waits(connection)
        app.execute("SELECT pg_sleep(%s)", [1.5 * ddl.FIRST_LOCK_TIMEOUT_SECONDS])
        app.execute("COMMIT")
        engine.join()
    built = facts.index_is_valid("public", "things_kind")
    assert connection.execute(sql.SQL("SELECT {}").format(built)).fetchone() == (True,)


def test_an_index_left_by_an_interrupted_build_is_cleared_and_built_again(
    connection: Connection,
) -> None:
    connection.execute("INSERT INTO things (id, kind) VALUES (1, 'a'), (2, 'a')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY things_kind ON things (kind)")
    broken = facts.index_is_valid("public", "things_kind")
    assert connection.execute(sql.SQL("SELECT {}").format(broken)).fetchone() == (False,)
    step = CreateIndex(id="i", description="", table=TABLE, name="things_kind", columns=("kind",))
    clear, build = step.forward(BIGINT.plan)
    assert isinstance(clear, Statement)
    assert isinstance(build, Statement)
    assert ddl.apply(connection, clear, NoControl()) is True
    assert ddl.apply(connection, build, NoControl()) is True
    assert connection.execute(sql.SQL("SELECT {}").format(broken)).fetchone() == (True,)
    assert ddl.apply(connection, clear, NoControl()) is False
    assert ddl.apply(connection, build, NoControl()) is False


def test_an_index_left_by_a_rebuild_is_cleared_and_a_valid_one_of_a_like_name_is_not(
    connection: Connection,
) -> None:
    for name in ("things_kind_ccnew", "things_kind_ccnew1", "things_kind_2", "things_kind_ccold"):
        connection.execute(sql.SQL("CREATE INDEX {} ON things (kind)").format(sql.Identifier(name)))
    # As REINDEX CONCURRENTLY leaves them when it is cut off.
    connection.execute(
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid::regclass::text IN ('things_kind_ccnew', 'things_kind_ccnew1')"
    )
    step = CreateIndex(id="i", description="", table=TABLE, name="things_kind", columns=("kind",))
    for action in step.forward(BIGINT.plan):
        assert isinstance(action, Statement)
        ddl.apply(connection, action, NoControl())
    names = connection.execute(
        "SELECT indexrelid::regclass::text FROM pg_index"
        " WHERE indexrelid::regclass::text LIKE 'things_kind%' ORDER BY 1"
    ).fetchall()
    assert names == [("things_kind",), ("things_kind_2",), ("things_kind_ccold",)]


def test_a_build_that_a_deadlock_ends_is_cleared_away_and_tried_again(
    target: Target, connection: Connection, app: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ddl, "MAX_PAUSE_SECONDS", 0.01)
    step = CreateIndex(id="i", description="", table=TABLE, name="things_kind", columns=("kind",))
    clear, build = step.forward(BIGINT.plan)
    assert isinstance(clear, Statement)
    assert isinstance(build, Statement)
    cleared = []
    apply = ddl.apply

    def applied(*arguments: Any, **more: Any) -> bool:
        cleared.append(arguments[1])
        return apply(*arguments, **more)

    monkeypatch.setattr(ddl, "apply", applied)
    connection.execute("SET deadlock_timeout = '200ms'")
    app.execute("SET deadlock_timeout = '1min'")
    app.execute("BEGIN")
    app.execute("INSERT INTO things (id) VALUES (1)")
    engine = threading.Thread(
        target=apply, args=(connection, build, NoControl()), kwargs={"clearing": [clear]}
    )
    engine.start()
    with target.connect() as watching:
        wait_until_somebody_waits(watching)
    # Waits for the build, which waits for this transaction: the build is the one to go.
    app.execute("LOCK TABLE things IN SHARE UPDATE EXCLUSIVE MODE")
    app.execute("COMMIT")
    engine.join()
    assert cleared == [clear]
    built = facts.index_is_valid("public", "things_kind")
    assert connection.execute(sql.SQL("SELECT {}").format(built)).fetchone() == (True,)


def test_a_commit_of_a_statement_waits_for_the_disk_whatever_the_session_did_before(
    connection: Connection,
) -> None:
    connection.execute("SET synchronous_commit = off")
    ddl.apply(connection, add_column(), NoControl())
    assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
