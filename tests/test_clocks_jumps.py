"""A database whose clock jumps."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout import gates, runner
from rollout.gates.evidence import Evidence
from rollout.journal import heartbeats
from rollout.models import (
    LogEntry,
    PhaseRun,
    Rollout,
    RunState,
    ScheduledStart,
    ScheduleState,
    WatchedTime,
)
from rollout.plan.gates import Soak
from rollout.watchdog import scheduled_starts
from rollout.watchdog.duties import Duty
from rollout.watchdog.loop import Watchdog
from tests.support.clocks import HOUR, Clocks, answer
from tests.support.rollouts import ADA


class TestADatabaseWhoseClockJumps:
    """Watchdogs see it by a clock of their own that nobody sets."""

    MINUTE = timedelta(minutes=1)
    SOAK = Soak(timedelta(minutes=10), fewest_calls=0)

    @pytest.fixture
    def clocks(self, rollout: Rollout) -> Clocks:
        clocks = Clocks()
        PhaseRun.objects.create(
            rollout=rollout, phase=0, state=RunState.DONE, finished_at=clocks.began
        )
        return clocks

    def test_a_soak_counts_what_was_seen_to_pass(self, rollout: Rollout, clocks: Clocks) -> None:
        watch = clocks.watch()
        watch.look()
        clocks.go_on(4 * self.MINUTE)
        watch.look()
        clocks.shown += 3 * HOUR
        watch.look()
        assert "Soaking: 4 min of 10 min since phase 0 finished" in answer(self.SOAK, rollout)
        clocks.go_on(5 * self.MINUTE)
        watch.look()
        message = answer(self.SOAK, rollout)
        assert "Soaking: 9 min of 10 min since phase 0 finished" in message
        assert "does not count: the clock jumped over it, or no watchdog ran" in message
        clocks.go_on(self.MINUTE)
        watch.look()
        assert gates.check_gate(self.SOAK, Evidence(rollout, 1)).status == "pass"

    def test_a_watchdog_that_takes_over_at_once_continues_with_the_time(
        self, rollout: Rollout, clocks: Clocks
    ) -> None:
        first = clocks.watch()
        first.look()
        clocks.go_on(4 * self.MINUTE)
        first.look()
        clocks.go_on(heartbeats.SILENCE / 2)
        second = clocks.watch()
        second.look()
        clocks.go_on(4 * self.MINUTE)
        second.look()
        assert WatchedTime.objects.count() == 1
        # The first one was cut off, and leads again: its time is not counted twice.
        first.look()
        assert "Soaking: 8 min of" in answer(self.SOAK, rollout)

    def test_time_without_a_watchdog_does_not_count(self, rollout: Rollout, clocks: Clocks) -> None:
        for _ in range(2):
            watch = clocks.watch()
            watch.look()
            clocks.go_on(4 * self.MINUTE)
            watch.look()
            clocks.go_on(HOUR)
        assert "Soaking: 8 min of" in answer(self.SOAK, rollout)
        assert not LogEntry.objects.filter(event="clock jumped").exists()

    def test_a_clock_set_forward_and_back_leaves_no_trace(
        self, rollout: Rollout, clocks: Clocks
    ) -> None:
        watch = clocks.watch()
        watch.look()
        clocks.go_on(4 * self.MINUTE)
        watch.look()
        for jump in (3 * HOUR, -3 * HOUR - 2 * self.MINUTE):
            clocks.shown += jump
            watch.look()
            clocks.go_on(self.MINUTE)
            watch.look()
        # What was jumped to is gone, and of the first four minutes the one that comes again.
        assert "Soaking: 4 min of" in answer(self.SOAK, rollout)
        logged = LogEntry.objects.filter(event="clock jumped").order_by("pk")
        assert [entry.data["seconds"] for entry in logged] == [10800, -10920]

    @pytest.mark.parametrize("jump", [2 * HOUR, -2 * HOUR], ids=["ahead", "back"])
    def test_a_scheduled_start_is_called_off_and_the_log_says_why(
        self, tiny: Rollout, jump: timedelta
    ) -> None:
        clocks = Clocks()
        watch = clocks.watch()
        watch.look()
        start = runner.schedule_start(
            tiny, 0, at=timezone.now() + HOUR, zone="Europe/Berlin", actor=ADA
        )
        clocks.shown += jump
        watch.look()
        assert scheduled_starts.start_due() == 0
        start.refresh_from_db()
        assert start.state == ScheduleState.NOT_STARTED
        assert "whether its time has come is unknown" in start.outcome
        assert LogEntry.objects.get(event="scheduled start refused").message.endswith(start.outcome)
        jumped = LogEntry.objects.get(event="clock jumped").message
        assert jumped.startswith("The database's clock jumped 7,200 s ")
        assert not tiny.runs.exists()

    def test_a_start_whose_time_was_jumped_to_waits_for_a_watchdogs_look(
        self, tiny: Rollout
    ) -> None:
        start = runner.schedule_start(tiny, 0, at=timezone.now() + HOUR, zone="UTC", actor=ADA)
        clocks = Clocks()
        clocks.watch().look()
        # By both clocks of now it is past.
        ScheduledStart.objects.filter(pk=start.pk).update(at=timezone.now() - self.MINUTE)
        assert scheduled_starts.start_due() == 0

    @pytest.mark.parametrize("jumps", [True, False], ids=["jumped", "nobody looked for days"])
    def test_nothing_is_deleted_for_a_day(self, db: None, jumps: bool) -> None:
        clocks, deleted = Clocks(), []
        clocks.shown -= 10 * 24 * HOUR
        watch = clocks.watch()
        watch.look()
        clocks.shown += 3 * 24 * HOUR
        if not jumps:
            watch = clocks.watch()
        watch.look()
        duty = Duty("expiry", timedelta(0), lambda: deleted.append("a snapshot"), deletes=True)
        watchdog = Watchdog([duty])
        watchdog.look()
        assert deleted == []
        clocks.go_on(25 * HOUR)
        watch.look()
        watchdog.look()
        assert deleted == ["a snapshot"]
