"""What a rehearsal measured, and what follows for production."""

from rollout.models import Observation, Rehearsal, Rollout, StepRun
from rollout.queries import rehearsals
from tests.console.journal import reached, rehearsed, taken


def test_no_p99_is_above_the_longest_operation_measured(rollout: Rollout) -> None:
    rehearsal = rehearsed(taken(rollout, phases=["untouched"] * 5))
    # The estimate of this bucket is 21.2 ms.
    Rehearsal.objects.update(
        baseline_traffic={"operations": 20, "longest_ms": 21.0, "durations": {"-38": 20}}
    )
    rehearsal.refresh_from_db()
    report = rehearsals.report_of(rehearsal)
    assert report.alone.p99_ms == 21.0
    traffic = [result.traffic for result in report.results]
    traffic += [step.traffic for result in report.results for step in result.steps]
    assert {(seen.longest_ms, seen.p99_ms) for seen in traffic if seen.operations} == {(88.1, 88.1)}


def test_a_lock_on_a_table_that_its_step_creates_blocks_nobody(rollout: Rollout) -> None:
    rehearsal = rehearsed(taken(rollout))
    forward, backward = rehearsal.sandbox.runs.order_by("pk")
    lock = {"mode": "AccessExclusiveLock", "times": 1, "held_ms": 225.0, "waited_ms": 0.0}
    for run in (forward, backward):
        for step in ("create-types", "create-statuses"):
            locks = [{**lock, "table": "property_types"}]
            Observation.objects.create(run=run, step_run=reached(run, step), locks=locks)
    held = {
        (result.direction, step.step): (step.locks[0].blocks, step.locks[0].held_ms)
        for result in rehearsals.report_of(rehearsal).results
        for step in result.steps
    }
    assert held["forward", "create-types"] == ("", 225.0)
    assert held["forward", "create-statuses"] == ("reads and writes", 225.0), "of a step before it"
    assert held["backward", "create-types"] == ("reads and writes", 225.0)
    StepRun.objects.exclude(step__in=("create-types", "add-property-columns")).delete()
    report = rehearsals.report_of(rehearsal)
    assert [result.longest_lock.held_ms for result in report.results if result.longest_lock] == [
        12.5,
        225.0,
    ]
