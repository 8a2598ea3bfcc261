"""What a rule makes of the windows so far: how many are broken, and against what."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from rollout.journal.moments import in_words
from rollout.models import (
    AuditReport,
    LogEntry,
    Measurement,
    PhaseRun,
    Rollout,
    RuleState,
    RunState,
)
from rollout.plan.guardrails import Guardrail
from rollout.watchdog import evaluations, guardrails
from tests.console import journal
from tests.support import rollouts
from tests.watchdog.guarded_phases import SLOW, Clock, follows, running, state


def test_two_slow_windows_of_five_pause_nothing_and_the_third_does(
    tiny: Rollout, clock: Clock
) -> None:
    follows(SLOW)
    run = running(tiny)
    clock.windows(2, ms=10)
    clock.windows(2, ms=400)
    assert rollouts.state_of(run) == RunState.RUNNING
    clock.window(ms=400)
    assert rollouts.state_of(run) == RunState.PAUSING
    entry = LogEntry.objects.get(event="paused by rule")
    assert (entry.actor, entry.source, entry.phase) == ("guardrail slow", "watchdog", 0)
    assert "3 of 5 windows above 60 ms" in entry.message
    assert "; baseline 10 ms; " in entry.message
    assert [window["verdict"] for window in entry.data["windows"]] == ["kept"] * 2 + ["broken"] * 3
    assert entry.data["bound"] == pytest.approx(60, rel=0.06)
    clock.window(ms=10)
    message = state().message
    window = f"in the newest breaching window of {SLOW.seconds} s, "
    assert re.match(f"p95 (3[89]|4[01])\\d ms {window}", message), "the value is of what breached"
    assert (state().value or 0) > 60
    clock.windows(4, ms=10)
    assert re.match(
        f"p95 10 ms in {5 * SLOW.seconds} s, .* calls; baseline 10 ms; 0 of 5 ", state().message
    )


def test_the_last_breach_is_the_newest_window_above_the_limit_however_long_it_counts(
    tiny: Rollout, clock: Clock
) -> None:
    follows(SLOW)
    running(tiny)
    clock.windows(2, ms=10)
    clock.windows(3, ms=400)
    ended = clock.now
    for _ in range(2):
        assert state().verdict == "broken"
        assert state().last_broken_at == ended, "the soak's end holds"
        clock.window(ms=10)


def test_a_repair_is_compared_with_the_time_before_its_phase(tiny: Rollout, clock: Clock) -> None:
    follows(SLOW)
    running(tiny)
    clock.window(ms=10)
    before = state().baseline
    assert before
    PhaseRun.objects.create(
        rollout=tiny, phase=0, direction="repair", state="done", actor_name="ada", baseline={}
    )
    clock.window(ms=10)
    assert state().baseline == before


def test_the_last_run_keeps_its_baseline_although_no_guardrail_is_evaluated_any_more(
    tiny: Rollout, clock: Clock
) -> None:
    run = PhaseRun.objects.create(
        rollout=tiny, phase=4, state="done", actor_name="ada", started_at=timezone.now()
    )
    run.created_at = timezone.now() - timedelta(seconds=10)
    run.save(update_fields=["created_at"])
    guardrails.evaluate(tiny, now=timezone.now())
    assert not RuleState.objects.exists()
    run.refresh_from_db()
    assert run.baseline is not None


def test_windows_without_calls_pause_nothing_and_are_not_taken_for_good(
    tiny: Rollout, clock: Clock
) -> None:
    follows(SLOW)
    run = running(tiny)
    clock.windows(5)
    assert state().verdict == "inconclusive"
    clock.windows(5, ms=400, calls=9)
    assert state().verdict == "inconclusive"
    assert rollouts.state_of(run) == RunState.RUNNING


def test_a_relative_guardrail_without_a_baseline_is_unknown(tiny: Rollout, clock: Clock) -> None:
    Measurement.objects.all().delete()
    follows(SLOW)
    running(tiny)
    clock.windows(5, ms=4000)
    assert state().verdict == "inconclusive"
    assert "not enough baseline data" in state().message


def test_calls_that_fail_one_after_the_other_need_no_window_full_of_calls(
    tiny: Rollout, clock: Clock
) -> None:
    follows(Guardrail(id="failing", statistic="consecutive_errors", at_most=4, action="pause"))
    run = running(tiny)
    clock.windows(2, calls=2, errors=2)
    clock.window(calls=2, errors=1)
    clock.windows(2, calls=2, errors=2)
    assert rollouts.state_of(run) == RunState.RUNNING
    clock.window(calls=2, errors=2)
    assert rollouts.state_of(run) == RunState.PAUSING


def test_errors_of_one_operation_are_not_lost_among_all_others(tiny: Rollout, clock: Clock) -> None:
    follows(
        Guardrail(
            id="create", statistic="error_rate", operation="create", at_most=0.1, action="pause"
        ),
        Guardrail(id="all", statistic="error_rate", at_most=0.1, action="pause"),
    )
    run = running(tiny)
    for _ in range(3):
        journal.measured(clock.now, calls=900)
        clock.window(calls=20, errors=10, operation="create")  # type: ignore[arg-type]
    assert state("all").verdict == "kept"
    assert state("create").verdict == "broken"
    assert rollouts.state_of(run) == RunState.PAUSING


def test_a_wrong_value_that_an_audit_finds_pauses_a_plan_without_rules_at_once(
    tiny: Rollout, clock: Clock
) -> None:
    follows()
    old = journal.audited(tiny, categories={"ok": 1, "wrong": 5})
    AuditReport.objects.filter(pk=old.pk).update(finished_at=timezone.now() - timedelta(hours=1))
    run = running(tiny)
    journal.audited(tiny, categories={"ok": 90, "missing": 10})
    clock.window()
    assert rollouts.state_of(run) == RunState.RUNNING
    audit = journal.audited(tiny, categories={"ok": 98, "wrong": 2})
    clock.window()
    assert rollouts.state_of(run) == RunState.PAUSING
    assert f"2 rows with wrong values found (audit {audit.pk})" in (
        LogEntry.objects.get(event="paused by rule").message
    )


def test_a_row_that_several_audits_found_wrong_counts_once(tiny: Rollout, clock: Clock) -> None:
    follows()
    running(tiny)
    sampled = journal.audited(tiny, categories={"wrong": 3}, mode="sampled")
    clock.window()
    assert f"3 rows with wrong values found (audit {sampled.pk})" in state("wrong-values").message
    journal.audited(tiny, categories={"wrong": 40})
    full = journal.audited(tiny, categories={"wrong": 47})
    journal.audited(tiny, categories={"wrong": 14}, mode="sampled")
    clock.window()
    assert f"47 rows with wrong values found (audit {full.pk})" in state("wrong-values").message


def test_a_sentence_about_wrong_values_has_the_moment_from_which_they_count(
    tiny: Rollout, clock: Clock
) -> None:
    follows()
    run = running(tiny)
    journal.audited(tiny, rows=98, categories={"ok": 98}, mode="sampled")
    clock.window()
    since = f"98 rows and 0 shadow reads compared since {in_words(run.created_at)}, 0 wrong"
    assert since in state("wrong-values").message


def test_where_a_phase_has_compared_nothing_a_clean_audit_before_it_counts(
    tiny: Rollout, clock: Clock
) -> None:
    def judged() -> tuple[str, str]:
        clock.window()
        rule = state("wrong-values")
        return rule.verdict, rule.message

    follows()
    running(tiny)
    assert judged() == ("inconclusive", "No data compared yet.")
    before = timezone.now() - timedelta(hours=1)
    clean = journal.audited(tiny, finished_at=before)
    assert judged() == ("kept", f"Audit {clean.pk} of all rows was clean; nothing compared since.")
    journal.audited(tiny, "mismatched", mode="sampled", finished_at=before)
    assert judged()[0] == "inconclusive", "what was found after it is not settled"


def test_a_rule_that_cannot_be_judged_acts_on_nothing_and_is_reported_once(
    tiny: Rollout, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    follows(SLOW, replace(SLOW, id="other"))
    run = running(tiny)
    judged = evaluations.evaluation_of

    def fails(rule: Guardrail, *rest: object) -> evaluations.Evaluation:
        if rule.id == "slow":
            raise ValueError("a number is none")
        return judged(rule, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(guardrails, "evaluation_of", fails)
    clock.windows(5, ms=10)
    assert (state().verdict, state().errors) == ("error", 5)
    assert state("other").verdict == "kept"
    assert LogEntry.objects.filter(event="rule not judged").count() == 1
    assert rollouts.state_of(run) == RunState.RUNNING
