"""Whether a rollout is healthy: what is wrong at present, in the order in which it matters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

from django.urls import reverse

from rollout.console.badges import PENDING
from rollout.console.formats import duration, slows_down, waiting
from rollout.console.guardrails import RuleRow
from rollout.console.http.links import rollout_url
from rollout.console.vitals import Vital
from rollout.journal import watched_times
from rollout.journal.audits import asks_people
from rollout.journal.events import Event
from rollout.journal.moments import in_words
from rollout.logs.texts import counted
from rollout.models import (
    AuditMode,
    AuditReport,
    AuditStatus,
    ChainState,
    PhaseRun,
    Rollout,
    RunState,
    Snapshot,
    SnapshotState,
    StepRun,
    WatchedTime,
)
from rollout.plan.gates import InBounds, ProbesPassed
from rollout.queries.inboxes import decisions_url
from rollout.queries.side_work import side_work_of
from rollout.queries.status import RolloutStatus, RolloutSummary

STOPPED_STATES = {
    RunState.FAILED: "failed",
    RunState.CANCELLED: "was cancelled",
    RunState.PAUSED: "is paused",
}

# Gates that say how the application is. What the others find has alerts of its own.
_APPLICATION_GATES = {InBounds.name, ProbesPassed.name}


@dataclass(frozen=True)
class Alert:
    """Something to look at, and the page on which to do so.

    ``tone`` is bad where a person has to act now, warn, or info for what heals itself.
    """

    text: str
    url: str
    tone: str = "bad"
    to_repair: AuditReport | None = None
    """The audit whose mismatched rows a repair writes."""

    @property
    def decide_at(self) -> str:
        """Where people decide about values first, if no row can be repaired before."""
        audit = self.to_repair
        return decisions_url(audit.rollout) if audit is not None and asks_people(audit) else ""


def health_of(alerts: Iterable[Alert]) -> str:
    """The health of a rollout: the worst tone of its alerts; good if there is none."""
    tones = {alert.tone for alert in alerts}
    return next((tone for tone in ("bad", "warn", "info") if tone in tones), "good")


class StatePhase(Protocol):
    """A phase, as far as its state is known."""

    @property
    def number(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def direction(self) -> str: ...
    @property
    def run(self) -> PhaseRun | None: ...


def alerts_for(
    status: RolloutStatus,
    rules: Sequence[RuleRow],
    vitals: Iterable[Vital],
    step: StepRun | None,
) -> list[Alert]:
    """None when worker and watchdog answer, the clock runs evenly, and the rollout, the gates
    about the application and its vitals are well."""
    here = status.rollout.get_absolute_url()
    alerts = []
    if not status.liveness.worker_alive:
        alerts.append(Alert("No worker online.", here))
    if not status.liveness.watchdog_alive:
        alerts.append(Alert("No watchdog online.", here))
    if jump := watched_times.unsettled_jump():
        alerts.append(_of_jump(jump))
    facts = status.evidence.facts
    audits = facts.newest_finished_audit, facts.audit_to_repair
    alerts += alerts_of(status, rules, audits, facts.snapshots, step)
    if any(row.is_breached and row.rule.statistic != "wrong_values" for row in rules):
        alerts += [
            Alert(
                f"{work.name} is running: a possible cause, if on the same server.",
                work.url,
                "info",
            )
            for work in side_work_of(facts)
        ]
    for phase in status.phases:
        if phase.state == PENDING:
            url = rollout_url(status.rollout, "phase", phase.number)
            alerts += [
                Alert(f"Gate “{gate.label}” blocks phase {phase.number}.", url, "warn")
                for gate in phase.failed_gates
                if gate.shown == "fail" and gate.name in _APPLICATION_GATES
            ]
    monitoring = rollout_url(status.rollout, "monitoring")
    return alerts + [
        Alert(f"{vital.label}: {vital.value} {vital.detail}.", monitoring, "info")
        for vital in vitals
        if vital.is_bad and not vital.is_of_guardrail
    ]


def alerts_of(
    status: RolloutStatus | RolloutSummary,
    rules: Sequence[RuleRow],
    audits: tuple[AuditReport | None, AuditReport | None],
    snapshots: Sequence[Snapshot],
    step: StepRun | None,
) -> list[Alert]:
    """Alerts of the rollout itself: none if no phase stopped short, nothing slows the present
    ``step`` down, guardrails are OK, rows match and snapshots can be restored.

    ``audits`` are the newest finished one, and that whose rows wait for people.
    """
    rollout, phases = status.rollout, status.phases
    here = rollout.get_absolute_url()
    alerts = []
    if status.chain is not None and status.chain.state == ChainState.STOPPED:
        alerts.append(Alert(f"{status.chain.title} stopped.", here))
    pausing = {row.state.run_id for row in rules if row.state is not None and row.doing}
    for phase in phases:
        stopped = STOPPED_STATES.get(phase.state)  # type: ignore[call-overload]
        if stopped is None or (phase.run is not None and phase.run.pk in pausing):
            continue
        what = "Rollback of phase" if phase.direction == "backward" else "Phase"
        tone = "bad" if phase.state == RunState.FAILED else "warn"
        alerts.append(
            Alert(f"{what} {phase.number} {stopped}.", f"{here}phases/{phase.number}/", tone)
        )
    alerts += _of_audits(*audits)
    has_repair = any(alert.to_repair is not None for alert in alerts)
    alerts += _of_snapshots(snapshots)
    breached = [row for row in rules if row.is_breached]
    if not any(row.rule.action == "throttle" for row in breached):
        alerts += _of_throttle(status.active, step, here)
    return alerts + [
        _of_guardrail(row, rollout, phases, here)
        for row in breached
        if not (has_repair and _counts_the_same(row))
    ]


def _counts_the_same(row: RuleRow) -> bool:
    """Whether a guardrail counts the rows that an audit has found, and has paused nothing."""
    return row.rule.statistic == "wrong_values" and not (row.rule.action == "pause" and row.doing)


def _of_audits(newest: AuditReport | None, waiting: AuditReport | None) -> list[Alert]:
    """What the audit says whose rows wait for people, else the newest one, if it is not clean.

    As the tab and the inbox do: a sample since has met only some of them, or none.
    """
    audit = waiting or newest
    if audit is None or audit.status == AuditStatus.CLEAN:
        return []
    url = audit.get_absolute_url()
    if audit.status != AuditStatus.MISMATCHED:
        return [Alert(f"Audit {audit.pk} is {audit.status}.", url)]
    if not (number := audit.mismatched - audit.waived):
        return []
    rows = counted(number, "mismatched row")
    if audit is not waiting:
        since = "people have decided about values since"
        return [Alert(f"Audit {audit.pk} found {rows}; {since}.", url, "warn")]
    repaired = audit if audit.mode != AuditMode.SHADOW else None
    return [Alert(f"Audit {audit.pk} found {rows}.", url, to_repair=repaired)]


def _of_throttle(run: PhaseRun | None, step: StepRun | None, here: str) -> list[Alert]:
    """What slows the present step down or holds it, by no guardrail; it ends by itself."""
    reason = step.waiting_for if step is not None else ""
    if run is None or run.state != RunState.RUNNING or not slows_down(reason):
        return []
    return [Alert(waiting(reason), f"{here}phases/{run.phase}/", "info")]


def _of_jump(jump: WatchedTime) -> Alert:
    """What a jump of the clock, or a long time without a watchdog, stops until it is a day old."""
    turn = "ahead" if jump.jumped > 0 else "back"
    # Nobody can tell a long time without a watchdog from a jump ahead.
    otherwise = ", or no watchdog ran for as long" if jump.jumped > 0 else ""
    return Alert(
        f"The database's clock jumped {duration(abs(jump.jumped))} {turn}, to "
        f"{in_words(jump.began_at)}{otherwise}. Nothing is deleted for a day. See that the "
        "machines keep their time.",
        f"{reverse('rollout:log')}?{urlencode({'event': Event.CLOCK_JUMPED.value})}",
        "warn",
    )


def _of_snapshots(snapshots: Sequence[Snapshot]) -> list[Alert]:
    """Alerts for snapshots that failed without a newer good one, or no longer match."""
    verified = [snapshot.pk for snapshot in snapshots if snapshot.state == SnapshotState.VERIFIED]
    return [
        Alert(
            f"Snapshot {snapshot.pk} {'failed its verification' if snapshot.sha256 else 'failed'}.",
            snapshot.get_absolute_url(),
            "warn" if verified else "bad",
        )
        for snapshot in snapshots
        if snapshot.state == SnapshotState.FAILED
        and (snapshot.verified_at is not None or snapshot.pk > max(verified, default=0))
    ]


def _of_guardrail(row: RuleRow, rollout: Rollout, phases: Sequence[StatePhase], here: str) -> Alert:
    """What a guardrail does at present, and what to press where it does not heal itself."""
    name = f"Guardrail “{row.rule.id}” {row.sentence}"
    url = f"{rollout_url(rollout, 'monitoring')}#rules"
    match row.rule.action if row.doing else "warn":
        case "warn":
            return Alert(f"{name}.", url, row.tone)
        case "throttle":
            return Alert(f"{name}: backfills are throttled.", url, row.tone)
        case "pause":
            paused = row.state.run_id if row.state else None
            phase = next((p for p in phases if p.run and p.run.pk == paused), None)
            effect = f"phase {phase.number} is paused" if phase else "the run is paused"
            url, cure = f"{here}phases/{phase.number}/" if phase else here, "Resume it."
        case _:
            effect, cure = "the next phase is blocked", "Release the hold."
    if row.rule.resumes:
        return Alert(f"{name}: {effect} until it is OK.", url, row.tone)
    cure = cure if row.verdict == "kept" else ""
    return Alert(f"{name}: {effect}. {cure}".strip(), url, row.tone)
