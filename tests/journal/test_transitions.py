"""Whatever is pressed in whatever order, the journal stays in states that the table allows."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.db.models import Model, TextChoices
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from rollout import runner
from rollout.journal import activity_log
from rollout.journal.transitions import ENDED, RUNS, TABLES, move
from rollout.models import (
    ACTIVE,
    ChainState,
    Delivery,
    DeliveryState,
    Direction,
    PhaseRun,
    RollbackChain,
    Rollout,
    RunState,
    ScheduledStart,
    ScheduleState,
    StepRun,
)
from rollout.watchdog.lost_work import continue_chains
from rollout.worker.kinds import KINDS
from rollout.worker.leased_jobs import LeasedJob
from tests.support import rollouts
from tests.support.rollouts import ADA
from tests.support.servers import Database

# Every change of a run's state, however it came about.
RECORD_CHANGES = """
CREATE TABLE changes (id bigserial, run bigint, before text, after text);
CREATE FUNCTION record_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO changes (run, before, after) VALUES (new.id, old.state, new.state);
  RETURN new;
END $$;
CREATE TRIGGER record_change AFTER UPDATE OF state ON rollout_phaserun
  FOR EACH ROW WHEN (old.state IS DISTINCT FROM new.state) EXECUTE FUNCTION record_change();
"""
ADVICE = re.compile(
    r"\b(start|roll|wait|resume|cancel|look|retry|bring|reload|must run first|phases are 0 to 4)\b",
    re.IGNORECASE,
)
PHASES = st.integers(-1, 5)
VERBS = (runner.pause, runner.resume, runner.cancel, runner.retry)


class Presses(RuleBasedStateMachine):
    """People press at random, a worker comes along at random, a flow fails at random."""

    rollout: Rollout

    @initialize()
    def begin(self) -> None:
        rollouts.flow.does = lambda: None
        for _ in iter(rollouts.deliver_next, None):
            pass
        PhaseRun.objects.all().delete()
        RollbackChain.objects.all().delete()
        rollouts.execute("TRUNCATE changes")
        self.rollout = rollouts.the_rollout("tiny")

    def press(self, verb: Callable[[], PhaseRun]) -> None:
        before = list(PhaseRun.objects.values_list("pk", "state"))
        run, refused = None, ""
        try:
            run = verb()
        except runner.Refused as refusal:
            refused = str(refusal)
        if run is None:
            assert ADVICE.search(refused), f"no advice: {refused}"
            assert list(PhaseRun.objects.values_list("pk", "state")) == before
        else:
            assert run.state == rollouts.state_of(run)

    @rule(phase=PHASES)
    def start(self, phase: int) -> None:
        self.press(lambda: runner.start(self.rollout, phase, actor=ADA))

    @rule()
    def start_the_one_due(self) -> None:
        phase = len(self.phases_done())
        self.press(lambda: runner.start(self.rollout, phase, actor=ADA))

    @rule(phase=PHASES)
    def roll_back(self, phase: int) -> None:
        self.press(lambda: runner.roll_back(self.rollout, phase, actor=ADA))

    @rule(to_phase=st.integers(-1, 3))
    def roll_back_to(self, to_phase: int) -> None:
        self.press(lambda: runner.roll_back_to(self.rollout, to_phase, actor=ADA))

    @rule()
    def a_watchdog_looks(self) -> None:
        continue_chains()

    @rule(verb=st.sampled_from(VERBS))
    def use(self, verb: Callable[..., PhaseRun]) -> None:
        self.press(lambda: verb(self.rollout, actor=ADA))

    @rule()
    def a_worker_takes_a_message(self) -> None:
        rollouts.flow.does = lambda: None
        rollouts.deliver_next()

    @rule()
    def a_worker_takes_a_message_and_the_flow_fails(self) -> None:
        def fails() -> None:
            raise ValueError("The flow does not work.")

        rollouts.flow.does = fails
        rollouts.deliver_next()

    @rule(verb=st.sampled_from(VERBS), phase=PHASES)
    def somebody_presses_while_a_worker_works(
        self, verb: Callable[..., PhaseRun], phase: int
    ) -> None:
        def presses() -> None:
            rollouts.flow.does = lambda: None
            self.press(lambda: verb(self.rollout, actor=ADA))
            self.press(lambda: runner.start(self.rollout, phase, actor=ADA))
            time.sleep(0.03)  # Most workers notice before they continue, some do not.

        rollouts.flow.does = presses
        rollouts.deliver_next()

    @rule()
    def a_message_comes_twice(self) -> None:
        rollouts.flow.does = lambda: None
        message = rollouts.deliver_next()
        if message:
            message.deliver()

    def phases_done(self) -> list[int]:
        newest = self.newest()
        return [n for n in range(5) if newest.get(n) == (Direction.FORWARD, RunState.DONE)]

    def newest(self) -> dict[int, tuple[str, str]]:
        """Phase to the direction and the state of its newest run."""
        runs = PhaseRun.objects.filter(rollout=self.rollout).order_by("pk")
        return {
            phase: (direction, state)
            for phase, direction, state in runs.values_list("phase", "direction", "state")
        }

    @invariant()
    def every_change_is_in_the_table(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT DISTINCT run, before, after FROM changes")
            for run, before, after in cursor.fetchall():
                assert after in RUNS[RunState(before)], f"run {run}: {before} to {after}"

    @invariant()
    def at_most_one_run_is_active(self) -> None:
        assert PhaseRun.objects.filter(state__in=ACTIVE).count() <= 1

    @invariant()
    def the_phases_that_stand_come_before_the_others(self) -> None:
        """What has begun is a phase on top of done ones; nothing above it has."""
        newest, undone = self.newest(), (Direction.BACKWARD, RunState.DONE)
        touched = [n for n in range(5) if newest.get(n, undone) != undone]
        assert touched == list(range(len(touched)))
        assert set(touched[:-1]) <= set(self.phases_done())

    @invariant()
    def ended_runs_and_only_they_have_an_end(self) -> None:
        for run in PhaseRun.objects.all():
            assert (run.finished_at is not None) == (run.state in ENDED)

    @invariant()
    def a_done_run_has_done_steps_alone(self) -> None:
        assert not StepRun.objects.filter(run__state=RunState.DONE).exclude(state="done").exists()

    def teardown(self) -> None:
        assert activity_log.verify().broken is None


@pytest.mark.slow
def test_no_order_of_presses_leads_to_a_state_that_is_not_allowed(tiny: Rollout) -> None:
    rollouts.execute(RECORD_CHANGES)
    run_state_machine_as_test(
        Presses,
        settings=settings(
            max_examples=20, stateful_step_count=35, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_work_has_a_reason_at_each_arrow_and_a_way_to_an_end(
    kind: type[LeasedJob[Any]],
) -> None:
    table = TABLES[kind.model]
    states = {state for state, _ in kind.model._meta.get_field(kind.model.state_field).flatchoices}
    assert set(table) == states >= set(kind.working)
    for following in table.values():
        assert set(following) <= states
        assert all(when[0].isupper() and when.endswith(".") for when in following.values())
    assert all(set(table[state]) - set(kind.working) for state in table if "ing" in state)


@pytest.mark.parametrize(
    ("model", "states"),
    [(ScheduledStart, ScheduleState), (Delivery, DeliveryState), (RollbackChain, ChainState)],
)
def test_objects_that_no_worker_holds_have_a_reason_at_each_arrow(
    model: type[Model], states: type[TextChoices]
) -> None:
    table = TABLES[model]
    assert set(table) == set(states.values)
    for following in table.values():
        assert set(following) <= set(table)
        assert all(when[0].isupper() and when.endswith(".") for when in following.values())


@pytest.mark.parametrize("before", RunState)
@pytest.mark.parametrize("after", RunState)
def test_a_run_moves_as_the_table_says_and_not_otherwise(
    db: None, before: RunState, after: RunState
) -> None:
    run = PhaseRun.objects.create(rollout=rollouts.the_rollout(), phase=0, state=before)
    assert move(run, after) == (after in RUNS[before])
    assert rollouts.state_of(run) == (after if after in RUNS[before] else before)


def test_a_run_is_not_moved_by_whoever_has_an_older_token(db: None) -> None:
    run = PhaseRun.objects.create(
        rollout=rollouts.the_rollout(), phase=0, state=RunState.RUNNING, token=3
    )
    assert not move(run, RunState.DONE, token=2)
    assert move(run, RunState.DONE, token=3)


def test_the_database_itself_refuses_a_second_active_run(committed_db: Database) -> None:
    rollout = rollouts.the_rollout()
    PhaseRun.objects.create(rollout=rollout, phase=0)
    with pytest.raises(IntegrityError):
        PhaseRun.objects.create(rollout=rollout, phase=1)
