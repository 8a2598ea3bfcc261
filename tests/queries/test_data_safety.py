"""What the page says about the safety of the data, in each state of a rollout."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from rollout.models import PhaseRun, Rollout
from rollout.modes import Modes
from rollout.plan import plans
from rollout.plan.removals import DropLegacy, StopDualWrite
from rollout.plan.transition import StartDualWrite
from rollout.queries.data_safety import DataSafety, data_safety_of, steps_in_effect
from rollout.queries.status import status_of
from tests.console import journal
from tests.console.journal import PAGE, audited, ran, reached, text_of
from tests.support import rollouts


def safety(rollout: Rollout) -> DataSafety:
    return data_safety_of(status_of(rollout))


def minutes_ago(minutes: float) -> datetime:
    return timezone.now() - timedelta(minutes=minutes)


def went_through(
    rollout: Rollout, phase: int, *, minutes: float, direction: str = "forward"
) -> PhaseRun:
    """A phase that is done with all of its steps, so many minutes ago."""
    at = minutes_ago(minutes)
    run = ran(rollout, phase, direction=direction)
    steps = plans.get(rollout.plan).phases[phase].steps
    for step in steps if direction == "forward" else steps[::-1]:
        reached(run, step.id, started_at=at, finished_at=at)
    return run


def clean(rollout: Rollout, *, minutes: float, **fields: Any) -> None:
    at = minutes_ago(minutes)
    audited(rollout, started_at=at, finished_at=at, **fields)


def after_backfill(rollout: Rollout) -> None:
    for phase in range(2):
        went_through(rollout, phase, minutes=50 - phase)
    went_through(rollout, 2, minutes=30)


def sentence(client: Client) -> str:
    """The sentence on the page, without its markup."""
    part = text_of(client, PAGE).split('<h2 id="safety">')[1].split("</section>")[0]
    text = " ".join(re.sub(r"<[^>]+>", "", part).split())
    return text.replace(" .", ".").replace(" ,", ",").replace(" :", ":")


def test_data_that_no_step_touches_is_untouched(rollout: Rollout, viewer: Client) -> None:
    assert safety(rollout).verdict == "untouched"
    assert "Nothing to roll back." in sentence(viewer)
    went_through(rollout, 0, minutes=9)
    assert "Rollback of phase 0 ready." in sentence(viewer), "a rehearsal begins with phase 1"
    went_through(rollout, 1, minutes=9)
    result = safety(rollout)
    assert (result.verdict, result.dual_write.state, result.phase) == ("untouched", "off", 1)
    text = sentence(viewer)
    assert "No step in effect changes what the application writes." in text
    assert "Rollback of phase 1 ready, not rehearsed: rehearse the plan." in text


def test_a_dual_write_that_has_begun_is_not_verified_before_an_audit(
    rollout: Rollout, viewer: Client
) -> None:
    for phase in range(2):
        went_through(rollout, phase, minutes=9)
    run = ran(rollout, 2, "running")
    reached(run, "map-values")
    step = reached(run, "dual-write")
    reached(run, "watch-images", "running")
    result = safety(rollout)
    assert (result.verdict, result.dual_write.state) == ("unproven", "on")
    assert result.dual_write.since == step.finished_at
    text = sentence(viewer)
    assert "No clean audit of all rows yet." in text
    assert "Rollback of phase 2 possible once this run is cancelled or done" in text


def test_a_dual_write_is_on_as_soon_as_the_application_writes_both(rollout: Rollout) -> None:
    for phase in range(2):
        went_through(rollout, phase, minutes=9)
    ran(rollout, 2, "running")
    assert safety(rollout).verdict == "untouched"
    status = status_of(rollout)
    status.__dict__["modes"] = Modes(read="legacy", write="both")
    result = data_safety_of(status)
    assert (result.verdict, result.dual_write.state) == ("unproven", "on")


def test_a_clean_audit_of_the_data_as_it_is_written_verifies_it(
    rollout: Rollout, viewer: Client
) -> None:
    after_backfill(rollout)
    clean(rollout, minutes=4)
    result = safety(rollout)
    assert (result.verdict, result.dual_write.state) == ("safe", "on")
    text = sentence(viewer)
    assert "Verified Dual write on since" in text
    assert "Last clean audit of all rows 4 min ago" in text


@pytest.mark.parametrize("change", ["review", "write path"])
def test_an_audit_from_before_a_change_verifies_nothing(
    rollout: Rollout, viewer: Client, change: str
) -> None:
    after_backfill(rollout)
    clean(rollout, minutes=4)
    if change == "review":
        journal.reviewed(rollout)
    else:
        went_through(rollout, 3, minutes=1)
    result = safety(rollout)
    assert result.verdict == "due"
    assert ("grace's review" if change == "review" else "step “Cut over;") in result.outdated
    assert "4 min ago (audit" in sentence(viewer)


def test_mismatches_come_first_and_those_waived_do_not_count(
    rollout: Rollout, viewer: Client
) -> None:
    after_backfill(rollout)
    clean(rollout, minutes=4)
    audited(rollout, "mismatched", mismatched=47, waived=5)
    result = safety(rollout)
    assert (result.verdict, result.mismatches) == ("mismatched", 42)
    assert "found mismatched rows, " in sentence(viewer), "Health has their number, once"
    rollout.audits.filter(status="mismatched").update(waived=47)
    assert safety(rollout).verdict == "unproven", "no clean audit is the newest"


def test_an_audit_without_a_result_does_not_replace_the_last_clean_one(
    rollout: Rollout, viewer: Client
) -> None:
    after_backfill(rollout)
    clean(rollout, minutes=4)
    audited(rollout, "inconclusive")
    assert safety(rollout).clean is None, "the newest of all rows says nothing"
    audited(rollout, "clean")
    audited(rollout, "inconclusive", mode="sampled")
    result = safety(rollout)
    assert (result.verdict, result.clean is not None) == ("unproven", True)
    assert "was inconclusive. Last clean audit of all rows just now" in sentence(viewer)


def test_a_clean_sample_alone_verifies_nothing_and_clears_no_mismatch(
    rollout: Rollout, viewer: Client
) -> None:
    after_backfill(rollout)
    clean(rollout, minutes=4, mode="sampled")
    assert safety(rollout).verdict == "unproven"
    text = sentence(viewer)
    assert "No clean audit of all rows is the newest. A sample was clean 4 min ago (audit" in text
    full = audited(rollout)
    assert safety(rollout).verdict == "safe"
    assert safety(rollout).sample is None, "it is older than the audit of all rows"
    clean(rollout, minutes=0, mode="sampled")
    result = safety(rollout)
    assert (result.verdict, result.clean) == ("safe", full)
    assert result.sample is not None
    audited(rollout, "mismatched", mismatched=3)
    clean(rollout, minutes=0, mode="sampled")
    result = safety(rollout)
    assert (result.verdict, result.mismatches) == ("mismatched", 3)


def test_shadow_reads_without_a_difference_verify_no_row(rollout: Rollout) -> None:
    after_backfill(rollout)
    audited(rollout, mode="shadow")
    assert safety(rollout).clean is None


def test_after_the_cutover_the_dual_write_continues(rollout: Rollout) -> None:
    after_backfill(rollout)
    went_through(rollout, 3, minutes=10)
    clean(rollout, minutes=2)
    result = safety(rollout)
    assert (result.verdict, result.dual_write.state) == ("safe", "on")
    assert not result.is_archived


def test_the_dual_write_is_on_since_what_turned_it_on_and_an_audit_is_before_what_was_undone(
    rollout: Rollout,
) -> None:
    after_backfill(rollout)
    began = safety(rollout).dual_write.since
    clean(rollout, minutes=9)
    run = ran(rollout, 2, "running", direction="backward")
    step = next(s for s in plans.get(rollout.plan).phases[2].steps if isinstance(s, StartDualWrite))
    undone = minutes_ago(1)
    reached(run, step.id, started_at=undone, finished_at=undone)
    status = status_of(rollout)
    status.__dict__["modes"] = Modes(read="legacy", write="both")
    result = data_safety_of(status)
    assert (result.dual_write.state, result.dual_write.since) == ("on", began)
    assert began is not None
    assert f"step “Undo: {step.description}”" in result.outdated


def test_the_dual_write_is_on_since_its_first_table_while_others_follow(rollout: Rollout) -> None:
    after_backfill(rollout)
    for phase in (3, 4):
        went_through(rollout, phase, minutes=9)
    run = ran(rollout, 4, "running", direction="backward")
    ends = [s for s in plans.get(rollout.plan).phases[4].steps if ends_dual_write(s)]
    seen = []
    for minutes, step in zip((3, 2), reversed(ends), strict=True):
        at = minutes_ago(minutes)
        reached(run, step.id, started_at=at, finished_at=at)
        seen.append(safety(rollout).dual_write)
    first, second = seen
    assert (first.state, second) == ("on", first)


def ends_dual_write(step: object) -> bool:
    return isinstance(step, DropLegacy | StopDualWrite)


def test_after_the_last_phase_the_archive_holds_the_legacy_values(
    rollout: Rollout, viewer: Client
) -> None:
    after_backfill(rollout)
    went_through(rollout, 3, minutes=10)
    clean(rollout, minutes=9)
    went_through(rollout, 4, minutes=1)
    result = safety(rollout)
    assert (result.verdict, result.dual_write.state) == ("archived", "ended")
    assert result.is_archived
    text = sentence(viewer)
    assert "Verified by archive" in text
    assert "Phase 4 compared every row with its archive before the columns went." in text
    assert "Every legacy value is archived exactly, without expiry." in text
    assert "with the legacy columns." in text
    button = 'id="verb-audit-data">Start full audit</button>'
    lead = journal.browser_of("lead")
    assert button not in text_of(lead, PAGE), "phase 4 compared all rows"
    journal.reviewed(rollout)
    assert safety(rollout).verdict == "due"
    assert button in text_of(lead, PAGE), "no gate is left that would offer it"
    assert button not in text_of(viewer, PAGE)
    clean(rollout, minutes=0)
    assert safety(rollout).verdict == "safe"
    assert button not in text_of(lead, PAGE)


def test_after_the_rollback_of_the_backfill_the_data_is_restored(
    rollout: Rollout, viewer: Client
) -> None:
    after_backfill(rollout)
    run = went_through(rollout, 2, minutes=1, direction="backward")
    result = safety(rollout)
    assert (result.verdict, result.dual_write.state, result.phase) == ("restored", "off", 1)
    assert result.restored_at == run.finished_at
    text = sentence(viewer)
    assert "Restored, verified No step in effect changes what the application writes" in text
    assert "all checks of the rollback passed." in text
    assert result.dual_write.since is not None
    PhaseRun.objects.filter(pk=run.pk).update(state="failed")
    run.steps.filter(step__in=["map-values", "dual-write"]).delete()
    assert safety(rollout).dual_write.state == "on", "its triggers are still there"


def test_steps_of_a_rollback_that_has_not_finished_are_in_effect_until_undone(
    rollout: Rollout,
) -> None:
    went_through(rollout, 1, minutes=9)
    run = ran(rollout, 1, "failed", direction="backward")
    reached(run, "add-image-columns")
    status = status_of(rollout)
    left = {step.id for step in steps_in_effect(status.plan, status.evidence.runs)}
    assert "add-image-columns" not in left
    assert "create-types" in left


def test_the_rehearsed_rollback_is_given_for_the_phase_and_for_all_so_far(
    rollout: Rollout, viewer: Client
) -> None:
    for phase in range(3):
        went_through(rollout, phase, minutes=9)
    rehearsal = journal.rehearsed(journal.taken(rollout), first_phase=1)
    assert safety(rollout).rollback_seconds is None, "phase 2 was not rehearsed"
    assert safety(rollout).whole_rollback_seconds is None
    journal.ran(rehearsal.sandbox, 2, direction="backward")
    result = safety(rollout)
    assert result.rollback_seconds is not None
    assert result.whole_rollback_seconds == pytest.approx(2 * result.rollback_seconds, abs=1)
    assert "back to before phase 1)" in sentence(viewer)
    type(rehearsal).objects.update(plan_digest="of another")
    assert safety(rollout).rehearsed is None


def test_a_plan_without_a_dual_write_has_none(rollout: Rollout) -> None:
    with rollouts.tiny_plan() as plan:
        tiny = rollouts.the_rollout(plan.name)
        assert safety(tiny).dual_write.state == "none"
