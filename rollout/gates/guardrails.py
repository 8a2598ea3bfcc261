"""Gates about time and the application: soak, guardrails, smoke tests, maintenance window."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Sum
from django.utils import timezone

from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import is_not_started
from rollout.gates.registry import GateResult, check, failed, passed, pending, unknown
from rollout.gates.runs import phase_done
from rollout.journal.heartbeats import SILENCE
from rollout.journal.moments import duration, in_words, is_to_come, staleness
from rollout.logs.texts import counted
from rollout.models import Direction, Measurement, RuleVerdict
from rollout.plan.actions import Probe
from rollout.plan.gates import InBounds, MaintenanceWindow, ProbesPassed, Soak
from rollout.plan.guardrails import COUNTED, Guardrail
from rollout.plan.plan import PREPARE, Plan
from rollout.telemetry.baselines import baseline_of
from rollout.telemetry.operation_stats import (
    OperationStats,
    merged,
    of_plan,
    stats_by_operation,
)
from rollout.telemetry.signals import MIN_CALLS, baseline_value_of, stats_of, value_of, with_unit


@check(Soak)
def soak(gate: Soak, evidence: Evidence) -> GateResult:
    before = evidence.run_before
    done = phase_done(before, evidence.number - 1)
    if before is None or before.finished_at is None or done.status != "pass":
        return done
    since, why = before.finished_at, f"phase {evidence.number - 1} finished"
    breach = evidence.facts.broken
    if breach is not None and breach.at > since:
        since, why = breach.at, f"guardrail “{breach.what}” was last breached"
    now, ready = evidence.now, since + gate.time
    if is_to_come(since, now):
        return pending(
            "wait",
            f"{in_words(since)}, when {why}, is in the future: the database's clock was set back. "
            f"Ready at {in_words(ready)}; wait until then, or override this gate.",
            ready_at=ready,
        )
    watched = evidence.facts.watched_since(since)
    if watched < gate.time:
        if broken := evidence.facts.broken_now(evidence.now):
            return pending(
                "wait",
                f"Guardrail “{broken}” is breached. The soak of {duration(gate.time)} begins again "
                "once it is OK.",
            )
        message = f"Soaking: {duration(watched)} of {duration(gate.time)} since {why}."
        # A watchdog at rest has seen nothing yet of the last seconds.
        if now - since >= gate.time and now - since - watched > SILENCE:
            message += (
                f" The rest of {duration(now - since)} does not count: the clock jumped over it, "
                "or no watchdog ran. Check that one runs."
            )
        ready = evidence.facts.watched_for(gate.time, since=since)
        return pending(
            "wait",
            f"{message} Ready at {in_words(ready)}; wait until then.",
            ready_at=ready,
            progress=watched / gate.time,
        )
    calls = _calls_since(since, evidence.plan.name)
    if 0 < calls < gate.fewest_calls:
        return pending(
            "wait",
            f"{counted(calls, 'call')} of the application measured since {why}; "
            f"{gate.fewest_calls:,} needed. Wait for more.",
            progress=calls / gate.fewest_calls,
        )
    if calls < gate.fewest_calls:
        return unknown(
            "review_monitoring",
            f"{counted(calls, 'call')} of the application measured since {why}; "
            f"{gate.fewest_calls:,} "
            "needed. Check that the application is running and instrumented.",
        )
    return passed(
        f"{duration(watched)} since {why}: {counted(calls, 'call')} measured, no guardrail "
        "paused or "
        "blocked anything."
    )


def _calls_since(moment: datetime, plan: str) -> int:
    """How many calls of the application were measured since then."""
    measured = Measurement.objects.filter(of_plan(plan), at__gte=moment).aggregate(
        calls=Sum("calls")
    )
    return measured["calls"] or 0


@check(InBounds)
def in_bounds(gate: InBounds, evidence: Evidence) -> GateResult:
    rules = [rule for rule in evidence.plan.guardrails if rule.statistic not in COUNTED]
    if not rules:
        return unknown(
            "edit_plan", "The plan has no guardrails for latency or errors. Add some to the plan."
        )
    before = evidence.run_before
    baseline = baseline_of(before) if before is not None else {}
    now = timezone.now()
    stats = stats_by_operation(now - timedelta(seconds=gate.seconds), now, plan=evidence.plan.name)
    calls = merged(stats.values()).calls
    if calls < gate.fewest_calls:
        return unknown(
            "review_monitoring",
            f"{counted(calls, 'call')} measured in the last {gate.seconds} s; "
            f"{gate.fewest_calls:,} needed. "
            "Check that the application is running and instrumented.",
        )
    results = [(rule, *_evaluate(rule, stats, baseline)) for rule in rules]
    over = f"{counted(calls, 'call')} in the last {gate.seconds} s"
    if breached := [sentence for _, verdict, sentence in results if verdict == "broken"]:
        if _are_ok(rules, evidence):
            return pending(
                "wait",
                f"{over}: {'; '.join(breached)}. The guardrails are OK again by now. Wait until "
                f"the last {gate.seconds} s are within limits.",
            )
        return failed(
            "review_monitoring",
            f"{over}: {'; '.join(breached)}. Investigate, then wait until it has recovered.",
        )
    if unsure := [f"“{rule.id}”" for rule, verdict, _ in results if verdict == "inconclusive"]:
        return unknown(
            "override",
            f"Not enough baseline data for {', '.join(unsure)}: {MIN_CALLS} calls needed in the "
            f"hour before phase {evidence.number - 1}. Override this gate if the application is "
            "known to be healthy.",
        )
    return passed(f"{over}: {_first_of_each(results)}.")


def _are_ok(rules: Sequence[Guardrail], evidence: Evidence) -> bool:
    """Whether all of them are OK as the watchdog evaluated them last, just now."""
    now = timezone.now()
    kept = {
        state.rule
        for state in evidence.facts.rules
        if state.verdict == RuleVerdict.KEPT and state.is_current(now)
    }
    return kept.issuperset(rule.id for rule in rules)


def _first_of_each(results: list[tuple[Guardrail, str, str]]) -> str:
    """The first guardrail of each statistic and operation: plans name the strictest first."""
    first: dict[tuple[str, str], str] = {}
    for rule, _, sentence in results:
        first.setdefault((rule.statistic, rule.operation), sentence)
    return "; ".join(first.values())


def _evaluate(
    rule: Guardrail, now: dict[str, OperationStats], baseline: dict[str, OperationStats]
) -> tuple[str, str]:
    """The verdict, and a sentence with the numbers."""
    stats = stats_of(rule, now)
    value, usual = value_of(rule, stats), baseline_value_of(rule, baseline)
    verdict = rule.verdict(value, calls=stats.calls, usual=usual)
    bound = rule.bound(usual)
    if value is None or bound is None:
        return "inconclusive", ""
    name = "error rate" if rule.is_share else rule.statistic
    of = f" of {rule.operation}" if rule.operation else ""
    against = "" if usual is None else f" (before the phase {with_unit(rule, usual)})"
    word = "above" if verdict == "broken" else "below"
    return verdict, f"{name}{of} {with_unit(rule, value)}, {word} {with_unit(rule, bound)}{against}"


@check(ProbesPassed)
def probes_passed(gate: ProbesPassed, evidence: Evidence) -> GateResult:
    result = smoke_tests_passed(evidence)
    if result.status != "pass":
        return result
    flows, probes = evidence.plan.flows, evidence.facts.probes
    oldest = min(probes[flow].at for flow in flows)
    if stale := staleness(oldest, gate.fresh_for, duration(gate.fresh_for), evidence.now):
        return pending(
            "run_smoke_tests", f"The smoke test of {in_words(oldest)} {stale}. Run smoke tests."
        )
    return result


def smoke_tests_passed(evidence: Evidence) -> GateResult:
    """Whether every smoke test of the plan passed when it was run last."""
    flows, probes = evidence.plan.flows, evidence.facts.probes
    if not flows:
        return unknown("edit_plan", "The plan defines no smoke tests. Add some to a phase.")
    for flow in flows:
        if flow in probes and not probes[flow].passed:
            return failed(
                "run_smoke_tests",
                f"Smoke test {flow} failed at {in_words(probes[flow].at)}: {probes[flow].message} "
                "Fix it, then run smoke tests.",
            )
    if missing := [flow for flow in flows if flow not in probes]:
        return _to_run(missing, f"Not run yet: {', '.join(missing)}.", evidence)
    oldest = min(probes[flow].at for flow in flows)
    if newer := _changed_since(oldest, evidence):
        older = f"The smoke test of {in_words(oldest)} is older than {newer}."
        return _to_run(flows, older, evidence)
    warnings = [f" {flow}: {warning}" for flow in flows if (warning := probes[flow].warning)]
    return passed(
        f"{counted(len(flows), 'smoke test')} passed, the oldest at "
        f"{in_words(oldest)}.{''.join(warnings)}"
    )


def _to_run(flows: Iterable[str], why: str, evidence: Evidence) -> GateResult:
    """Who runs the smoke tests: a phase at work, phase 0 where it is due, or else a person."""
    running = next((run for run in evidence.runs.values() if run.active), None)
    if running is not None:
        is_forward = running.direction == Direction.FORWARD
        if is_forward and _tries(evidence.plan, running.phase, flows):
            return pending("wait", f"{why} {running.title} runs them.")
    elif is_not_started(evidence.runs.get(PREPARE)) and _tries(evidence.plan, PREPARE, flows):
        return pending("start_phase", f"{why} Phase {PREPARE} runs them.")
    return pending("run_smoke_tests", f"{why} Run smoke tests.")


def _tries(plan: Plan, phase: int, flows: Iterable[str]) -> bool:
    """Whether steps of a phase try each of these flows out."""
    steps = (plan.forward(step) for step in plan.phases[phase].steps)
    actions = (action for step in steps for action in step.actions)
    return {action.flow for action in actions if isinstance(action, Probe)}.issuperset(flows)


def _changed_since(moment: datetime, evidence: Evidence) -> str:
    """What changed the schema or the write path since then; empty if nothing did."""
    begun = {number: run for number, run in evidence.runs.items() if number > PREPARE}
    for number, run in begun.items():
        # Rolled back, the schema is another; no smoke test follows.
        is_back = run.direction == Direction.BACKWARD and run.started_at is not None
        if is_back and moment < (run.finished_at or run.created_at):
            return f"the rollback of phase {number}"
    change = evidence.facts.write_path if begun else None
    if change is not None and moment < change.at:
        return f"step {change.what}, which changed what writes do"
    return ""


@check(MaintenanceWindow)
def maintenance_window(gate: MaintenanceWindow, evidence: Evidence) -> GateResult:
    now = evidence.now
    local = now.astimezone(ZoneInfo(gate.zone))
    message = f"Now: {local:%a %H:%M %Z}. Window: {gate.sentence}."
    if gate.contains(now):
        return passed(message)
    opening = gate.next_opening(now)
    return pending(
        "schedule_start",
        f"{message} It opens {opening:%a %Y-%m-%d %H:%M %Z}, in {duration(opening - now)}. "
        "Schedule the start.",
        ready_at=opening,
    )
