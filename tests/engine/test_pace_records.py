"""The pace of a worker follows the commits of a real server, whose flush is made to wait."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from psycopg import sql

from rollout.engine import lanes
from rollout.engine.commit_latencies import NO_WAIT
from rollout.engine.health import Signal
from rollout.engine.pace import Pace, Settings
from rollout.engine.pace_records import PaceRecord, pace_now, throttles_of
from rollout.engine.target import Connection, Target
from rollout.engine.throttles import MIN_SHARE, Throttle
from tests.engine.actions import NoControl, new_job, work_off
from tests.engine.own_server import server
from tests.engine.things import FILL, counted, legacy_rows

# A commit waits for so long before it flushes. More than ten times what nobody feels.
WAIT = "100ms"
MANY = 20
OWN: tuple[tuple[int, list[str]], ...] = ((1, ["journal"]), (2, []))


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A server on which nobody else writes: transaction ids are those of a whole server."""
    settings = {
        "fsync": "on",
        "synchronous_commit": "on",
        "commit_siblings": "0",
        "autovacuum": "off",
    }
    with server(settings) as (target, _):
        yield target


@pytest.fixture(autouse=True)
def rows(target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "FIRST_RANGE_BLOCKS", 1)
    legacy_rows(target, connection, 1_000)


def slow(connection: Connection) -> None:
    connection.execute(f"SET commit_delay = '{WAIT}'".replace("ms", "000").encode())


def fast(connection: Connection) -> None:
    connection.execute("SET commit_delay = 0")


@dataclass
class Run(NoControl):
    """A worker of a job whose clock moves by a second with each batch: it looks at each of them."""

    connection: Connection
    job: int = 0
    limit_ms: float | None = None
    now: float = 0.0
    at_look: Callable[["Run", Signal], None] = lambda run, signal: None
    throttles: list[Throttle] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)

    def work(self) -> None:
        """Work the whole job off."""
        self.job, stripes = new_job(self.connection, FILL)
        self.record = PaceRecord(self.connection, self.job, "test")
        pace = Pace(
            settings=lambda: Settings(target_seconds=0.001, commit_limit_ms=self.limit_ms),
            signals=self.look,
            throttle=self.record.began,
            record=self.keep,
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        work_off(self.connection, FILL, self.job, stripes, pace=pace, control=self)

    def look(self) -> list[Signal]:
        signal = self.record.signal(self.limit_ms)
        self.at_look(self, signal)
        return [signal]

    def keep(self, throttle: Throttle, writes: int) -> None:
        self.throttles.append(throttle)
        self.record.record(throttle, writes)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def raise_if_stopped(self) -> None:
        self.now += 1.0

    @property
    def shares(self) -> list[float]:
        return [throttle.share for throttle in self.throttles]


def write_beside(app: Connection) -> None:
    """Others' transactions: so many in the moment between two looks are far more than so many a
    second.
    """
    app.execute("SET synchronous_commit = off")
    for _ in range(MANY):
        app.execute("UPDATE rollout.modes SET plan = plan WHERE false; SELECT pg_current_xact_id()")


@pytest.mark.slow
def test_slow_commits_beside_others_bring_the_pace_down_and_fast_ones_bring_it_back(
    connection: Connection, app: Connection
) -> None:
    seen: list[str] = []

    def at_look(run: Run, signal: Signal) -> None:
        write_beside(app)
        if len(run.throttles) == 4:
            assert run.shares == [1.0] * 4
            slow(connection)
        elif run.throttles and run.throttles[-1].share < 0.4 and not seen:
            seen.append(signal.reason)
            fast(connection)

    run = Run(connection, limit_ms=40.0, at_look=at_look)
    run.work()
    assert counted(connection, run.job)[1] == 1_000
    (reason,) = seen
    assert "limit 40.0 ms" in reason
    low = run.shares.index(min(run.shares))
    assert MIN_SHARE <= min(run.shares) < 0.4
    assert run.shares[: low + 1] == sorted(run.shares[: low + 1], reverse=True)
    assert run.shares[low:] == sorted(run.shares[low:])
    assert run.shares[-1] == 1.0
    assert any(wait.startswith("throttled to") and reason in wait for wait in run.waits)
    assert run.waits[-1] == ""


@pytest.mark.slow
def test_slow_commits_that_nobody_else_feels_leave_the_pace_alone(connection: Connection) -> None:
    signals: list[Signal] = []

    def at_look(run: Run, signal: Signal) -> None:
        signals.append(signal)
        if len(signals) == 4:
            slow(connection)
        elif len(signals) == 20:
            fast(connection)

    run = Run(connection, limit_ms=40.0, at_look=at_look)
    run.work()
    assert set(run.shares) == {1.0}
    (reason,) = {s.reason[s.reason.index("limit") :] for s in signals if s.value and s.value > 40}
    assert reason == "limit 40.0 ms. No other session writes, so nothing is throttled."
    assert {s.status for s in signals} == {"unknown", "ok"}
    assert throttles_of(run.job).ask(connection).rows == []


@pytest.mark.slow
def test_commits_above_the_hard_bound_hold_the_work_until_they_are_below_it(
    connection: Connection, app: Connection
) -> None:
    held: list[int] = []

    def at_look(run: Run, signal: Signal) -> None:
        write_beside(app)
        if len(run.throttles) == 4:
            slow(connection)
        elif run.throttles and run.throttles[-1].held:
            held.append(counted(connection, run.job)[1])
            if len(held) == 3:
                fast(connection)

    run = Run(connection, limit_ms=20.0, at_look=at_look)
    run.work()
    assert len(held) >= 3
    assert len(set(held)) == 1, "no row is touched while the work is held"
    assert counted(connection, run.job)[1] == 1_000
    assert any(wait.startswith("A small commit takes") for wait in run.waits)
    assert run.shares[-1] == 1.0


def test_a_throttle_is_kept_with_its_worst_value_bound_and_lowest_pace(
    connection: Connection,
) -> None:
    record = PaceRecord(connection, 1, "a")
    for value, share, held in ((60.0, 0.8, False), (90.0, 0.5, True), (45.0, 0.45, False)):
        cause = Signal("commit latency", "throttle", f"It takes {value}.", value, 40.0)
        record.record(Throttle(share, cause, held), 1)
    # Of another signal, and of another worker at the same time.
    lag = Signal("lag", "throttle", "It lags.", None, None)
    PaceRecord(connection, 1, "b").record(Throttle(0.7, lag), 1)
    record.record(Throttle(), 1)
    past = throttles_of(1).ask(connection)
    assert past.number == 2
    by_name = {throttle.signal: throttle for throttle in past.rows}
    worst = by_name["commit latency"]
    assert (worst.value, worst.bound, worst.share) == (90.0, 40.0, 0.0)
    assert worst.reason == "It takes 90.0."
    assert worst.began < worst.ended
    assert (by_name["lag"].value, by_name["lag"].share) == (None, 0.7)
    assert throttles_of(2).ask(connection).number == 0


class TestABaseline:
    def test_a_baseline_is_measured_before_the_work_by_several_commits(
        self, connection: Connection
    ) -> None:
        slow(connection)
        record = PaceRecord(connection, 1, "a")
        fast(connection)
        assert record.latencies.baseline >= 100
        assert record.began == Throttle()

    def test_a_worker_that_continues_at_once_keeps_baseline_and_pace(
        self, connection: Connection
    ) -> None:
        first = PaceRecord(connection, 1, "a")
        lag = Signal("lag", "throttle", "It lags.", 20.0, 10.0)
        first.record(Throttle(0.3, lag), 1)
        slow(connection)
        second = PaceRecord(connection, 1, "b")
        assert second.latencies.baseline == first.latencies.baseline < 100
        assert second.began.share == 0.3
        assert second.began.after([lag], seconds=1.0).cause == lag

    def test_the_next_job_keeps_the_baseline_and_not_the_pace(self, connection: Connection) -> None:
        """Right after its own work the server is not at rest."""
        first = PaceRecord(connection, 1, "a")
        first.record(Throttle(0.3, Signal("lag", "throttle", "It lags.")), 1)
        slow(connection)
        second = PaceRecord(connection, 2, "a")
        assert second.latencies.baseline == first.latencies.baseline
        assert second.began == Throttle()

    def test_a_worker_that_takes_over_from_a_dead_one_measures_its_own_baseline(
        self, connection: Connection
    ) -> None:
        first = PaceRecord(connection, 1, "a")
        first.record(Throttle(0.3, Signal("lag", "throttle", "It lags.")), 1)
        connection.execute("UPDATE rollout.paces SET at = at - interval '11 s'")
        assert pace_now(connection, 1) is None
        slow(connection)
        second = PaceRecord(connection, 1, "b")
        assert second.latencies.baseline >= 100 > first.latencies.baseline
        assert second.began == Throttle()
        assert connection.execute("SELECT holder FROM rollout.paces").fetchall() == [("b",)]


def test_other_workers_of_a_job_do_not_count_as_others(
    target: Target, connection: Connection
) -> None:
    with target.connect() as second_connection:
        first = PaceRecord(connection, 1, "a")
        second = PaceRecord(second_connection, 1, "b")
        for _ in range(6):
            for _ in range(MANY):
                second_connection.execute("SELECT pg_current_xact_id()")
            second.record(Throttle(), 2 + MANY)
            first.record(Throttle(), 2)
    assert max(first.latencies.others) <= 0


def test_writes_to_our_own_tables_are_not_by_others(connection: Connection) -> None:
    connection.execute("CREATE TABLE journal (n int)")
    ours, theirs = (PaceRecord(connection, job, "a", own_tables=own) for job, own in OWN)
    for record in (ours, theirs, ours, theirs):
        for _ in range(MANY):
            connection.execute("INSERT INTO journal VALUES (1)")
        connection.execute("SELECT pg_stat_force_next_flush()")
        record.record(Throttle(), 1)
    # Of the other record alone.
    assert ours.latencies.others[-1] < theirs.latencies.others[-1] / 10


def test_asynchronous_commits_slow_nothing(target: Target, connection: Connection) -> None:
    assert PaceRecord(connection, 1, "a").signal(None).status == "unknown", "too few commits yet"
    name = sql.Identifier(connection.info.dbname)
    change = sql.SQL("ALTER DATABASE {} {} synchronous_commit")
    connection.execute(sql.SQL("{} = off").format(change.format(name, sql.SQL("SET"))))
    try:
        with target.connect() as later:
            assert PaceRecord(later, 1, "a").signal(None) == NO_WAIT
    finally:
        connection.execute(change.format(name, sql.SQL("RESET")))


def test_all_signals_that_throttle_at_a_time_are_kept(connection: Connection) -> None:
    application = Signal("application", "throttle", "It is slow.", 60.0, 40.0)
    guardrail = Signal("rule slower", "throttle", "It is slower.", 2.0, 1.5)
    ok = Signal("lag", "ok", "")
    throttle = Throttle().after([application, guardrail, ok], seconds=1)
    PaceRecord(connection, 1, "a").record(throttle, 1)
    past = throttles_of(1).ask(connection)
    assert {row.signal: row.value for row in past.rows} == {"application": 60.0, "rule slower": 2.0}
