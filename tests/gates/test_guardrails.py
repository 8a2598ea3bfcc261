"""Soak, bounds and probes: unknown wherever nothing was measured."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout import gates
from rollout.gates import Evidence
from rollout.models import FlowProbe, PhaseRun, Rollout, RuleState, RunState, WatchedTime
from rollout.plan import plans
from rollout.plan.gates import (
    Gate,
    InBounds,
    NoGuardrailHolds,
    ProbesPassed,
    Soak,
)
from tests.console import journal

SOAK = Soak(timedelta(minutes=10))


def answer(gate: Gate, rollout: Rollout, number: int = 1) -> tuple[str, str]:
    given = gates.check_gate(gate, Evidence(rollout, number))
    return given.status, given.message


def ended(rollout: Rollout, ago: timedelta, phase: int = 0) -> PhaseRun:
    """A phase that ended a while ago, with a watchdog all the while."""
    now = timezone.now()
    # It continues while the gates are asked.
    WatchedTime.objects.create(began_at=now - timedelta(days=1), ended_at=now + MINUTE / 2)
    run = PhaseRun.objects.create(
        rollout=rollout,
        phase=phase,
        state=RunState.DONE,
        actor_name="ada",
        finished_at=timezone.now() - ago,
    )
    PhaseRun.objects.filter(pk=run.pk).update(created_at=timezone.now() - ago)
    return run


def measured(
    ago: timedelta, *, calls: int = 50, errors: int = 0, seconds: float = 0.02, plan: str = ""
) -> None:
    at = timezone.now() - ago
    journal.measured(at, ms=seconds * 1000, calls=calls, errors=errors, plan=plan)


def breached(rollout: Rollout, action: str, ago: timedelta) -> None:
    now = timezone.now()
    RuleState.objects.create(
        rollout=rollout,
        rule="slow",
        action=action,
        since=now,
        judged_at=now,
        last_broken_at=now - ago,
    )


MINUTE = timedelta(minutes=1)


class TestSoak:
    def test_time_must_pass(self, rollout: Rollout) -> None:
        ended(rollout, 4 * MINUTE)
        measured(MINUTE)
        status, message = answer(SOAK, rollout)
        assert status == "pending"
        assert message.startswith("Soaking: 4 min of 10 min since phase 0 finished. Ready at ")

    def test_the_end_of_the_soak_stands_still_between_two_beats_of_the_watchdog(
        self, rollout: Rollout
    ) -> None:
        run = ended(rollout, 4 * MINUTE)
        WatchedTime.objects.update(ended_at=timezone.now() - timedelta(seconds=2))
        first, later = (gates.check_gate(SOAK, Evidence(rollout, 1)) for _ in range(2))
        assert run.finished_at is not None
        assert first.ready_at == later.ready_at == run.finished_at + SOAK.time
        assert first.progress is not None
        assert 0.3 < first.progress < 0.4
        WatchedTime.objects.update(ended_at=run.finished_at + MINUTE)
        silent = gates.check_gate(SOAK, Evidence(rollout, 1)).ready_at
        assert silent is not None
        assert silent > timezone.now() + 8 * MINUTE, "nobody has watched for three minutes"

    def test_a_soak_accuses_no_watchdog_that_rests_between_two_looks(
        self, rollout: Rollout
    ) -> None:
        ended(rollout, 10 * MINUTE + timedelta(seconds=2))
        WatchedTime.objects.update(ended_at=timezone.now() - timedelta(seconds=5))
        status, message = answer(SOAK, rollout)
        assert (status, "does not count" in message) == ("pending", False)
        WatchedTime.objects.update(ended_at=timezone.now() - MINUTE)
        assert "or no watchdog ran" in answer(SOAK, rollout)[1]

    def test_a_soak_needs_measured_calls(self, rollout: Rollout) -> None:
        ended(rollout, 11 * MINUTE)
        measured(12 * MINUTE)
        assert answer(SOAK, rollout)[0] == "unknown"
        measured(2 * MINUTE, calls=19)
        status, message = answer(SOAK, rollout)
        assert status == "pending"
        assert message.startswith("19 calls of the application measured since phase 0 finished")
        assert message.endswith("20 needed. Wait for more.")
        measured(MINUTE, calls=30, plan="another")
        assert answer(SOAK, rollout)[0] == "pending"
        measured(MINUTE, calls=1, plan=rollout.plan)
        assert answer(SOAK, rollout) == (
            "pass",
            "11 min since phase 0 finished: 20 calls measured, no guardrail paused or blocked "
            "anything.",
        )

    def test_a_soak_promises_no_time_while_a_guardrail_is_breached(self, rollout: Rollout) -> None:
        ended(rollout, 30 * MINUTE)
        now = timezone.now()
        RuleState.objects.create(
            rollout=rollout,
            rule="slower",
            action="hold",
            acting=True,
            verdict="broken",
            since=now,
            judged_at=now,
            last_broken_at=now,
        )
        result = gates.check_gate(SOAK, Evidence(rollout, 1))
        assert (result.status, result.ready_at) == ("pending", None)
        assert "Guardrail “slower” is breached. The soak of 10 min begins again" in result.message
        RuleState.objects.update(verdict="kept")
        assert gates.check_gate(SOAK, Evidence(rollout, 1)).ready_at is not None

    @pytest.mark.parametrize("action", ["pause", "hold"])
    def test_a_guardrail_that_stops_work_starts_it_again(
        self, rollout: Rollout, action: str
    ) -> None:
        ended(rollout, 30 * MINUTE)
        measured(MINUTE)
        breached(rollout, action, 3 * MINUTE)
        status, message = answer(SOAK, rollout)
        assert status == "pending"
        assert message.startswith("Soaking: 3 min of 10 min since guardrail “slow” was last")

    @pytest.mark.parametrize("action", ["warn", "throttle"])
    def test_a_guardrail_that_heals_itself_does_not(self, rollout: Rollout, action: str) -> None:
        ended(rollout, 30 * MINUTE)
        measured(MINUTE)
        breached(rollout, action, 3 * MINUTE)
        status, message = answer(SOAK, rollout)
        assert status == "pass"
        assert message.startswith("30 min since phase 0 finished")

    def test_nothing_soaks_before_the_previous_phase_has_ended(self, rollout: Rollout) -> None:
        assert answer(SOAK, rollout)[0] == "pending"


class TestBounds:
    def test_an_application_as_quick_as_before_passes_with_the_numbers(
        self, rollout: Rollout
    ) -> None:
        ended(rollout, 10 * MINUTE)
        measured(20 * MINUTE)
        measured(timedelta(seconds=30))
        status, message = answer(InBounds(), rollout)
        assert status == "pass"
        assert message.startswith("50 calls in the last 60 s: p95 ")
        assert "error rate 0.0%" in message

    @pytest.mark.parametrize(
        ("now", "reason"),
        [({"seconds": 0.5}, "p95 "), ({"errors": 20}, "error rate 40.0%, above 5.0%")],
    )
    def test_a_slower_or_failing_application_fails(
        self, rollout: Rollout, now: dict[str, float], reason: str
    ) -> None:
        ended(rollout, 10 * MINUTE)
        measured(20 * MINUTE)
        measured(timedelta(seconds=30), **now)  # type: ignore[arg-type]
        status, message = answer(InBounds(), rollout)
        assert status == "fail"
        assert reason in message
        assert "Investigate" in message

    def test_an_application_whose_guardrails_are_ok_again_is_pending(
        self, rollout: Rollout
    ) -> None:
        ended(rollout, 10 * MINUTE)
        measured(20 * MINUTE)
        measured(timedelta(seconds=30), seconds=0.5)
        now = timezone.now()
        for rule in plans.get(rollout.plan).guardrails:
            rollout.rules.create(rule=rule.id, verdict="kept", judged_at=now, since=now)
        status, message = answer(InBounds(), rollout)
        assert status == "pending"
        assert "The guardrails are OK again by now. Wait until the last 60 s" in message
        rollout.rules.update(judged_at=now - timedelta(minutes=2))
        assert answer(InBounds(), rollout)[0] == "fail", "nobody evaluates them"

    def test_a_bound_without_calls_now_or_before_is_unknown(self, rollout: Rollout) -> None:
        ended(rollout, 10 * MINUTE)
        assert answer(InBounds(), rollout)[0] == "unknown"
        measured(timedelta(seconds=30), calls=19)
        assert "19 calls measured in the last 60 s" in answer(InBounds(), rollout)[1]
        measured(timedelta(seconds=30))
        status, message = answer(InBounds(), rollout)
        assert status == "unknown"
        assert "Not enough baseline data" in message


class TestProbes:
    def test_smoke_tests_that_never_ran_are_pending(self, rollout: Rollout) -> None:
        assert answer(ProbesPassed(), rollout)[0] == "pending"

    def test_a_flow_that_failed_last_fails_whatever_was_before(self, rollout: Rollout) -> None:
        for flow in plans.get(rollout.plan).flows:
            for passed in (True, flow.endswith("create_property")):
                FlowProbe.objects.create(
                    rollout=rollout, flow=flow, at=timezone.now(), passed=passed, message="So."
                )
        status, message = answer(ProbesPassed(), rollout)
        assert status == "fail"
        failed = [flow for flow in plans.get(rollout.plan).flows if f"{flow} failed" in message]
        assert failed
        assert "properties.flows.create_property" not in failed

    def test_old_news_do_not_count(self, rollout: Rollout) -> None:
        for flow in plans.get(rollout.plan).flows:
            FlowProbe.objects.create(
                rollout=rollout,
                flow=flow,
                at=timezone.now() - timedelta(hours=25),
                passed=True,
                message="So.",
            )
        assert "is older than the 1 d that the plan allows" in answer(ProbesPassed(), rollout)[1]


@pytest.mark.parametrize(
    ("rule", "action", "says"),
    [
        (
            "wrong-values-before-a-phase",
            "review_audit",
            "Repair the rows. The hold ends automatically with a clean full audit.",
        ),
        ("gone", "release_hold", "Investigate, then release the hold on the Monitoring page."),
    ],
)
def test_a_hold_that_a_clean_audit_ends_asks_nobody_to_release_it(
    rollout: Rollout, rule: str, action: str, says: str
) -> None:
    now = timezone.now()
    RuleState.objects.create(
        rollout=rollout,
        rule=rule,
        action="hold",
        acting=True,
        verdict="broken",
        since=now,
        judged_at=now,
    )
    result = gates.check_gate(NoGuardrailHolds(), Evidence(rollout, 1))
    assert result.action == action
    assert result.message.endswith(says)
