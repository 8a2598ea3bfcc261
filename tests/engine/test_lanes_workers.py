"""Several workers on the lanes of one job, coming and going, beside writers."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from psycopg import conninfo

from config.home import ROOT
from rollout.engine import backfill, lane_positions, lane_totals, lanes
from rollout.engine.control import Interrupted
from rollout.engine.target import Connection, Target
from tests.engine.actions import NoControl, audit, new_job, work_off, worker
from tests.engine.samples import BIGINT
from tests.engine.things import FILL, PLAN, WRITES, counted, expire_leases, legacy_rows, writing


class Leave(NoControl):
    """Lets a worker continue until it is asked to go home."""

    def __init__(self) -> None:
        super().__init__()
        self.was_asked = threading.Event()

    def raise_if_stopped(self) -> None:
        if self.was_asked.is_set():
            raise Interrupted("Go home.")


class Colleague(threading.Thread):
    """A worker with a connection of its own, as an assistant of a job is one."""

    names = itertools.count(1)

    def __init__(self, target: Target, job: int, stripes: int) -> None:
        super().__init__(name=f"colleague {next(self.names)}")
        self.target, self.job, self.stripes = target, job, stripes
        self.control = Leave()
        self.lanes_held: list[int] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with self.target.connect() as connection:
                working = worker(connection, FILL, stripes=self.stripes, control=self.control)
                while lane := lanes.claim(connection, self.job, self.name):
                    self.lanes_held.append(lane.number)
                    try:
                        working.run_lane(lane, seconds=60)
                    finally:
                        lanes.release(connection, lane)
        except Interrupted:
            pass
        except BaseException as failure:
            self.failure = failure

    def leave(self) -> None:
        self.control.was_asked.set()
        self.join()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LANE_BLOCKS", 4)
    monkeypatch.setattr(lanes, "FIRST_RANGE_BLOCKS", 1)
    monkeypatch.setattr(lane_positions, "MAX_RANGE_BLOCKS", 2)


def three_at_once(target: Target, job: int, stripes: int) -> list[Colleague]:
    """Three workers that have worked until nothing was left."""
    colleagues = [Colleague(target, job, stripes) for _ in range(3)]
    for colleague in colleagues:
        colleague.start()
    for colleague in colleagues:
        colleague.join()
    return colleagues


@pytest.mark.slow
def test_three_workers_share_the_lanes_beside_writers_and_miss_nothing(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 6_000)
    with writing(target, *WRITES):
        job, stripes = new_job(connection, FILL)
        colleagues = three_at_once(target, job, stripes)
        assert [colleague.failure for colleague in colleagues] == [None] * 3
        assert lanes.is_finished(connection, job)
        assert backfill.count_unfilled(connection, FILL, job) == 0
    assert all(colleague.lanes_held for colleague in colleagues)
    held = [number for colleague in colleagues for number in colleague.lanes_held]
    assert len(held) == len(set(held)), "no lane was in two hands"
    result = audit(target, PLAN)
    assert result.mismatches == []
    assert result.rows == BIGINT.count(connection)


@pytest.mark.slow
def test_three_workers_count_every_row_once(target: Target, connection: Connection) -> None:
    legacy_rows(target, connection, 6_000)
    job, stripes = new_job(connection, FILL)
    three_at_once(target, job, stripes)
    assert counted(connection, job) == (6_000, 6_000)


@pytest.mark.slow
def test_workers_that_come_and_go_in_the_middle_lose_nothing(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 6_000)
    job, stripes = new_job(connection, FILL)
    with slowed(connection):
        first, second = (Colleague(target, job, stripes) for _ in range(2))
        first.start()
        second.start()
        wait_for_rows(connection, job, 500)
        first.leave()
        third = Colleague(target, job, stripes)
        third.start()
        wait_for_rows(connection, job, 1_500)
        second.leave()
        third.leave()
    assert [c.failure for c in (first, second, third)] == [None] * 3
    assert third.lanes_held
    assert lane_totals.totals(connection, job).holders == ()
    assert not lanes.is_finished(connection, job)
    work_off(connection, FILL, job, stripes)
    assert counted(connection, job)[1] == 6_000
    assert backfill.count_unfilled(connection, FILL, job) == 0
    assert audit(target, PLAN).mismatched == 0


@pytest.mark.crash
def test_processes_that_are_killed_at_work_leave_lanes_that_others_bring_to_their_end(
    target: Target, connection: Connection
) -> None:
    legacy_rows(target, connection, 6_000)
    job, stripes = new_job(connection, FILL)
    address = conninfo.make_conninfo("", **target.parameters)
    command = [sys.executable, "-m", "tests.engine.worker", address, str(job), str(stripes)]
    with slowed(connection), ExitStack() as ends:
        processes = [
            ends.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE))
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"working\n"
        wait_for_rows(connection, job, 300)
        for process in processes:
            process.kill()
    expire_leases(connection, job)
    work_off(connection, FILL, job, stripes)
    assert counted(connection, job)[1] == 6_000
    assert backfill.count_unfilled(connection, FILL, job) == 0


@contextmanager
def slowed(connection: Connection) -> Iterator[None]:
    """Each batch takes a while, so that there is time to come and go."""
    connection.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.01); RETURN NULL; END $$;"
        " CREATE TRIGGER slow AFTER UPDATE ON things FOR EACH STATEMENT EXECUTE FUNCTION slow()"
    )
    yield
    connection.execute("SET lock_timeout = '10s'")
    connection.execute("DROP TRIGGER slow ON things")


def wait_for_rows(connection: Connection, job: int, rows: int) -> None:
    for _ in range(2_000):
        if counted(connection, job)[1] >= rows:
            return
        connection.execute("SELECT pg_sleep(0.005)")
    raise AssertionError(f"no {rows} rows: {lane_totals.totals(connection, job)}")
