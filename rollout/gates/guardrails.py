"""Gates about time and the application: soak, bounds, probes, the maintenance window."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Sum
from django.utils import timezone

from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import is_done
from rollout.gates.registry import GateResult, check
from rollout.journal.moments import in_words, is_to_come, staleness
from rollout.models import Measurement
from rollout.plan.gates import InBounds, MaintenanceWindow, ProbesPassed, Soak
from rollout.plan.rules import COUNTED, Rule
from rollout.telemetry.baselines import baseline_of
from rollout.telemetry.comparisons import baseline_value_of, stats_of, value_of, with_unit
from rollout.telemetry.operation_stats import OperationStats, merged, stats_by_operation
from rollout.telemetry.signals import MIN_CALLS


@check(Soak)
def soak(gate: Soak, evidence: Evidence) -> GateResult:
    before = evidence.run_before
    if not is_done(before) or before is None or before.finished_at is None:
        return "fail", f"Phase {evidence.number - 1} has not ended yet. Carry it out first."
    since, why = before.finished_at, f"phase {evidence.number - 1} ended"
    breach = evidence.facts.broken
    if breach is not None and breach.at > since:
        since, why = breach.at, f"guardrail “{breach.what}” was breached last"
    now = evidence.now
    if is_to_come(since, now):
        return "fail", (
            f"By the database's clock {in_words(since)}, when {why}, has not come yet: it was set "
            f"back since. Wait until {in_words(since + gate.time)}, or override this gate."
        )
    watched = evidence.facts.watched_since(since)
    if watched < gate.time:
        ready = in_words(now + gate.time - watched)
        if now - since < gate.time:
            return "fail", (
                f"It is {duration(now - since)} since {why}; {duration(gate.time)} are to pass. "
                f"Wait until {ready}."
            )
        return "fail", (
            f"A watchdog watched {duration(watched)} since {why}; {duration(gate.time)} are to "
            f"pass. The rest of {duration(now - since)} does not count: the clock jumped over it, "
            f"or no watchdog ran. See that one runs, and wait until {ready}."
        )
    calls = _calls_since(since)
    if calls < gate.fewest_calls:
        return "unknown", (
            f"{calls:,} calls of the application were measured since {why}: too few to tell how it "
            f"fares. {gate.fewest_calls:,} are needed; see that it runs and is measured."
        )
    return "pass", (
        f"{duration(watched)} since {why}; {calls:,} calls were measured, and no "
        "guardrail paused or blocked anything."
    )


def _calls_since(moment: datetime) -> int:
    """How many calls of the application were measured since then."""
    measured = Measurement.objects.filter(at__gte=moment).aggregate(calls=Sum("calls"))
    return measured["calls"] or 0


@check(InBounds)
def in_bounds(gate: InBounds, evidence: Evidence) -> GateResult:
    rules = [rule for rule in evidence.plan.rules if rule.statistic not in COUNTED]
    if not rules:
        return "unknown", "The plan has no rule about latency or errors. Give it one."
    before = evidence.run_before
    baseline = baseline_of(before) if before is not None else {}
    now = timezone.now()
    stats = stats_by_operation(now - timedelta(seconds=gate.seconds), now)
    calls = merged(stats.values()).calls
    if calls < gate.fewest_calls:
        return "unknown", (
            f"{calls:,} calls were measured in the last {gate.seconds} s: too few to judge by. "
            f"{gate.fewest_calls:,} are needed; see that the application runs and is measured."
        )
    judged = [(rule, *_judge(rule, stats, baseline)) for rule in rules]
    broken = [sentence for _, verdict, sentence in judged if verdict == "broken"]
    if broken:
        return "fail", (
            f"Over {calls:,} calls of the last {gate.seconds} s: {'; '.join(broken)}. Find out why "
            "and wait until it is over."
        )
    unsure = [rule.id for rule, verdict, _ in judged if verdict == "inconclusive"]
    if unsure:
        return "unknown", (
            f"Too little was measured to judge by {', '.join(f'“{rule}”' for rule in unsure)}: "
            f"{MIN_CALLS} calls in the hour before phase {evidence.number - 1} make a baseline. "
            "Override this gate if the application is known to be well."
        )
    return "pass", f"Over {calls:,} calls of the last {gate.seconds} s: {_first_of_each(judged)}."


def _first_of_each(judged: list[tuple[Rule, str, str]]) -> str:
    """The first rule of each statistic and operation: plans name the strictest first."""
    first: dict[tuple[str, str], str] = {}
    for rule, _, sentence in judged:
        first.setdefault((rule.statistic, rule.operation), sentence)
    return "; ".join(first.values())


def _judge(
    rule: Rule, now: dict[str, OperationStats], baseline: dict[str, OperationStats]
) -> tuple[str, str]:
    """The verdict, and a sentence with the numbers."""
    stats = stats_of(rule, now)
    value, usual = value_of(rule, stats), baseline_value_of(rule, baseline)
    verdict = rule.verdict(value, calls=stats.calls, usual=usual)
    bound = rule.bound(usual)
    if value is None or bound is None:
        return "inconclusive", ""
    name = "share of failing calls" if rule.is_share else rule.statistic
    of = f" of {rule.operation}" if rule.operation else ""
    against = "" if usual is None else f" (before the phase {with_unit(rule, usual)})"
    word = "above" if verdict == "broken" else "below"
    return verdict, f"{name}{of} {with_unit(rule, value)}, {word} {with_unit(rule, bound)}{against}"


@check(ProbesPassed)
def probes_passed(gate: ProbesPassed, evidence: Evidence) -> GateResult:
    flows = evidence.plan.flows
    if not flows:
        return "unknown", "The plan probes no flow. Add the flows that matter to a phase."
    probes = evidence.facts.probes
    failed = [probe for flow, probe in probes.items() if flow in flows and not probe.passed]
    if failed:
        return "fail", (
            f"{failed[0].flow} failed at {in_words(failed[0].at)}: "
            f"{failed[0].message} Put it right and try the flows out again."
        )
    missing = [flow for flow in flows if flow not in probes]
    if missing:
        return "unknown", f"{', '.join(missing)} was not tried out yet. Try the flows out."
    oldest = min(probes[flow].at for flow in flows)
    before = evidence.run_before
    if stale := staleness(oldest, gate.fresh_for, duration(gate.fresh_for), evidence.now):
        return "fail", f"The trial of the flows at {in_words(oldest)} {stale}. Try them out again."
    change = evidence.facts.write_path
    if before is not None and change is not None and oldest < change.at:
        return "fail", (
            f"The flows were tried out at {in_words(oldest)}, before step "
            f"{change.what} changed what is written. Try them out again."
        )
    return "pass", (
        f"{len(flows)} flows worked when they were tried out, the first of them at "
        f"{in_words(oldest)}."
    )


@check(MaintenanceWindow)
def maintenance_window(gate: MaintenanceWindow, evidence: Evidence) -> GateResult:
    now = evidence.now
    local = now.astimezone(ZoneInfo(gate.zone))
    if gate.contains(now):
        return "pass", f"It is {local:%a %H:%M %Z}; the window is {gate.sentence}."
    opening = gate.next_opening(now)
    return "fail", (
        f"It is {local:%a %H:%M %Z}; the window is {gate.sentence}. It opens "
        f"{opening:%a %Y-%m-%d %H:%M %Z}, in {duration(opening - now)}: schedule the start."
    )


def duration(time: timedelta) -> str:
    """A time in the largest unit that loses little: ``90 s``, ``45 min``, ``6 h``, ``3 d``."""
    seconds = time.total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{int(seconds // size):,} {unit}"
    return f"{int(seconds)} s"
