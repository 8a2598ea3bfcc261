"""The pace: rests, signs and settings, on a clock that only sleeping and working move."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import pytest

from rollout.engine import lane_totals, lanes
from rollout.engine.control import Interrupted
from rollout.engine.health import Signal
from rollout.engine.pace import WRITES_OF_A_LOOK, Pace, Settings
from rollout.engine.target import Connection, Target
from rollout.engine.throttles import MILD, MIN_SHARE, RECOVERY, Throttle
from rollout.engine.throughputs import losses_of, throughputs_of
from tests.engine.actions import NoControl, StopAfter, claimed, new_job, work_off, worker
from tests.engine.things import FILL, counted, legacy_rows, unfilled


def sign(status: Literal["ok", "throttle", "stop", "unknown"], name: str = "lag") -> Signal:
    return Signal(name, status, f"{name} says {status}.", 1.0)


@dataclass
class World:
    """A clock, the signs of the moment and the settings of the moment."""

    now: float = 0.0
    signals: list[Signal] = field(default_factory=list)
    settings: Settings = field(default_factory=Settings)
    kept: int = 0
    looks: int = 0
    until_well: float = float("inf")
    records: list[tuple[Throttle, int]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def look(self) -> list[Signal]:
        self.looks += 1
        if self.now >= self.until_well:
            self.signals = []
        return self.signals

    def keep(self) -> None:
        self.kept += 1

    def pace(self) -> Pace:
        return Pace(
            settings=lambda: self.settings,
            signals=self.look,
            record=lambda throttle, writes: self.records.append((throttle, writes)),
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    def batch(
        self, pace: Pace, control: NoControl, *, seconds: float = 0.1, rows: int = 0
    ) -> float:
        """One batch of a worker; how long it rested before and after."""
        started = self.now
        pace.before_batch(control, self.keep)
        self.now += seconds
        pace.after_batch(seconds, control, self.keep, rows=rows)
        return round(self.now - started - seconds, 9)


class TestRests:
    def test_full_duty_has_no_rests(self) -> None:
        world = World()
        assert world.batch(world.pace(), NoControl()) == 0

    @pytest.mark.parametrize(("duty", "rest"), [(0.5, 0.1), (0.25, 0.3), (0.05, 1.9)])
    def test_rests_leave_batches_their_share_of_the_time(self, duty: float, rest: float) -> None:
        world = World(settings=Settings(duty=duty))
        pace = world.pace()
        assert world.batch(pace, NoControl()) == pytest.approx(rest)
        assert pace.lost == {}, "what people asked for is no loss"

    def test_a_row_limit_holds_over_the_stripes_of_ranges_and_makes_no_burst_after_a_delay(
        self,
    ) -> None:
        world = World(settings=Settings(rows_per_second=1000))
        pace, control = world.pace(), NoControl()
        for _range in range(5):
            for stripe in range(4):
                world.batch(pace, control, rows=0 if stripe else 2000)
        assert world.now == pytest.approx(5 * 2 + 0.3)
        assert world.batch(pace, control, seconds=60, rows=2000) == 0
        assert world.batch(pace, control, rows=2000) == pytest.approx(0.9), "a second is made up"
        world.settings = Settings()
        assert world.batch(pace, control, rows=2000) == 0

    def test_a_row_limit_makes_ranges_so_short_that_their_rests_are(self) -> None:
        world = World(settings=Settings(rows_per_second=1000))
        pace = world.pace()
        assert pace.stretched(0.01, 4000) == pytest.approx(4 * pace.target_seconds)
        assert pace.stretched(0.06, 500) == 0.06
        world.settings = Settings()
        assert pace.stretched(0.01, 4000) == 0.01

    def test_rests_change_with_the_settings_from_the_next_batch_on(self) -> None:
        world = World()
        pace, control = world.pace(), NoControl()
        assert world.batch(pace, control) == 0
        world.settings = Settings(duty=0.5, target_seconds=0.5)
        assert world.batch(pace, control) == pytest.approx(0.1)
        assert pace.target_seconds == 0.5
        world.settings = Settings()
        assert world.batch(pace, control) == 0

    def test_long_rests_keep_the_lane(self) -> None:
        """A batch of two seconds in a twentieth of the time rests for far more than a lease."""
        world = World(settings=Settings(duty=0.05))
        rest = world.batch(world.pace(), NoControl(), seconds=2.0)
        assert rest == pytest.approx(38)
        assert world.kept >= rest / lanes.LEASE_SECONDS

    def test_a_rest_can_be_interrupted(self) -> None:
        world = World(settings=Settings(duty=0.05))
        with pytest.raises(Interrupted):
            world.batch(world.pace(), StopAfter(3), seconds=2.0)
        assert world.now < 4


class TestASignToThrottle:
    def test_a_throttling_signal_takes_part_of_the_speed_and_counts_the_seconds(self) -> None:
        world = World(signals=[sign("throttle")])
        pace, control = world.pace(), NoControl()
        rest = world.batch(pace, control)
        assert rest == pytest.approx(0.1 * (1 / MILD - 1))
        assert control.waits == ["throttled to 85% of full speed: lag says throttle."]
        assert pace.lost == {"lag": pytest.approx(rest)}

    def test_a_throttling_signal_takes_its_part_of_what_the_settings_leave(self) -> None:
        world = World(signals=[sign("throttle")], settings=Settings(duty=0.5))
        pace = world.pace()
        assert world.batch(pace, NoControl()) == pytest.approx(0.2 / MILD - 0.1)
        assert pace.lost == {"lag": pytest.approx(0.2 * (1 / MILD - 1))}

    def test_a_lasting_signal_throttles_more_each_second_down_to_the_minimum(self) -> None:
        world = World(signals=[sign("throttle")])
        pace, shares = world.pace(), [1.0]
        while shares[-1] > MIN_SHARE:
            world.batch(pace, NoControl())
            if pace.throttle.share != shares[-1]:
                shares.append(pace.throttle.share)
        # A look comes with the first batch that ends after a second.
        assert 10 <= len(shares) - 1 <= math.ceil(math.log(MIN_SHARE, MILD))
        assert shares == sorted(shares, reverse=True)
        world.batch(pace, NoControl())
        assert pace.throttle.share == MIN_SHARE

    def test_a_cleared_signal_gives_the_speed_back_gradually(self) -> None:
        world = World(signals=[sign("throttle")])
        pace, control = world.pace(), NoControl()
        world.batch(pace, control)
        world.signals = [sign("ok")]
        before = pace.throttle.share
        while pace.throttle.share < 1:
            world.batch(pace, control)
            assert before <= pace.throttle.share <= before + 2 * RECOVERY
            before = pace.throttle.share
        assert "throttled to 90% of full speed, speeding up again: lag says ok." in control.waits
        assert world.batch(pace, control) == 0
        assert control.waits[-1] == ""

    def test_a_long_rest_ends_as_soon_as_the_speed_is_back(self) -> None:
        """A batch of ten seconds at the least speed would rest for ninety."""
        world = World(signals=[sign("throttle")])
        pace = world.pace()
        while pace.throttle.share > MIN_SHARE:
            world.batch(pace, NoControl())
        world.signals = []
        assert world.batch(pace, NoControl(), seconds=10.0) < 20

    def test_an_interrupted_hold_counts_what_was_lost_until_then(self) -> None:
        world = World(signals=[sign("throttle")])
        pace = world.pace()
        with pytest.raises(Interrupted):
            world.batch(pace, StopAfter(2), seconds=4.0)
        assert pace.lost == {"lag": pytest.approx(0.4)}

    def test_each_look_is_recorded_with_the_writes_since_the_last(self) -> None:
        world = World(signals=[sign("throttle")])
        pace = world.pace()
        for _ in range(10):
            world.batch(pace, NoControl())
        (first, _), (second, writes) = world.records[:2]
        assert first.share == pytest.approx(MILD)
        assert second.share < first.share
        assert writes == pytest.approx(WRITES_OF_A_LOOK + 8, abs=1), "a batch takes 0.12 s"


class TestASignToStop:
    def test_a_stopping_signal_holds_the_work_before_a_batch_until_it_clears(self) -> None:
        world = World(signals=[sign("ok", "a"), sign("stop")], until_well=5.0)
        pace, control = world.pace(), NoControl()
        rest = world.batch(pace, control)
        assert rest >= 5.0
        assert control.waits[0] == "lag says stop."
        assert world.kept >= 5
        assert pace.lost == {"lag": pytest.approx(rest)}

    def test_a_cleared_stop_lets_the_work_begin_slowly(self) -> None:
        world = World(signals=[sign("stop")], until_well=5.0)
        pace, control = world.pace(), NoControl()
        world.batch(pace, control)
        assert pace.throttle.share <= MIN_SHARE + 2 * RECOVERY
        while pace.throttle.share < 1:
            world.batch(pace, control)
        assert 5.0 + 10 < world.now < 5.0 + 30
        assert world.batch(pace, control) == 0
        assert control.waits[-1] == ""

    def test_a_hold_can_be_interrupted(self) -> None:
        world = World(signals=[sign("stop")])
        with pytest.raises(Interrupted):
            world.batch(world.pace(), StopAfter(30))
        assert 5 < world.now < 7


@pytest.mark.parametrize("status", ["ok", "unknown"])
def test_a_sign_that_is_well_or_unknown_holds_nothing(status: Literal["ok", "unknown"]) -> None:
    world = World(signals=[sign(status)])
    assert world.batch(world.pace(), NoControl()) == 0


def test_the_signs_are_read_about_once_a_second_however_many_batches_there_are() -> None:
    world = World()
    pace = world.pace()
    for _ in range(100):
        world.batch(pace, NoControl())
    assert 9 <= world.looks <= 11


class TestAWorkerOfARealTable:
    @pytest.fixture(autouse=True)
    def rows(self, target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lanes, "FIRST_RANGE_BLOCKS", 2)
        legacy_rows(target, connection, 1_000)

    def test_a_stop_holds_a_worker_and_its_seconds_are_written_down(
        self, connection: Connection
    ) -> None:
        world = World(signals=[sign("stop")], until_well=3.0)
        job, stripes = new_job(connection, FILL)
        control = NoControl()
        work_off(connection, FILL, job, stripes, pace=world.pace(), control=control)
        assert "lag says stop." in control.waits
        assert counted(connection, job)[1] == 1_000
        (loss,) = losses_of(job).ask(connection)
        assert loss.signal == "lag"
        assert loss.seconds >= 3.0
        lost = sum(s.lost_seconds for s in throughputs_of(job).ask(connection))
        assert lost == pytest.approx(loss.seconds)

    def test_interrupt_while_held_writes_nothing_and_keeps_lane(
        self, connection: Connection
    ) -> None:
        world = World(signals=[sign("stop")])
        job, stripes = new_job(connection, FILL)
        lane = claimed(connection, job)
        held = worker(connection, FILL, stripes=stripes, pace=world.pace(), control=StopAfter(20))
        with pytest.raises(Interrupted):
            held.run_lane(lane, seconds=60)
        assert unfilled(connection) == 1_000
        assert lane_totals.totals(connection, job).holders == ("test",)
        assert losses_of(job).ask(connection)[0].seconds > 0

    def test_a_worker_aims_at_the_time_that_people_set_meanwhile(
        self, connection: Connection
    ) -> None:
        """A clock by which a batch takes a tenth of a second: the target decides the range."""

        def ranges(target_seconds: Iterator[float]) -> list[int]:
            job, _ = new_job(connection, FILL)
            lengths: list[int] = []
            lane = claimed(connection, job)
            ticks = iter(n * 0.05 for n in range(10_000))
            working = worker(
                connection,
                FILL,
                stripes=1,
                clock=lambda: next(ticks),
                pace=Pace(settings=lambda: Settings(target_seconds=next(target_seconds))),
            )
            for _ in range(2):
                lane = working.run_lane(lane, seconds=0.3)
                lengths.append(lane.range_blocks)
            return lengths

        assert ranges(iter([10.0] * 1_000))[1] > 2
        assert ranges(iter([0.001] * 1_000))[1] == 1
