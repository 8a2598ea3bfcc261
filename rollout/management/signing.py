"""The shell's verbs for what people answer for: approvals, overrides, schedules, the checklist."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone

from rollout import runner
from rollout.gates import Evidence
from rollout.gates.checklists import checklist_of
from rollout.gates.overrides import void_reason
from rollout.journal.moments import in_words, in_zone
from rollout.management.actors import actor_of, add_user
from rollout.models import Rollout, SignOffKind
from rollout.plan import plans
from rollout.runner.scheduled_starts import window_of
from rollout.worker.probes import probe_all

VERBS = {
    "ask-approval": "Ask other leads to approve a phase.",
    "approve": "Approve a phase, as a lead, by the digest that sql prints.",
    "withdraw": "Withdraw your approval of a phase, and your overrides before it.",
    "override": "Let a phase start though a gate does not pass, for a reason.",
    "confirm": "Confirm another lead's override before a destructive or restrictive phase.",
    "schedule": "Have a phase started at a time: 2026-11-28T22:00.",
}


def add_verbs(verb: Callable[..., Any]) -> None:
    """Add the verbs to the command's parser."""
    for name, text in VERBS.items():
        sub = verb(name, text)
        sub.add_argument("phase", type=int)
        if name in ("override", "confirm"):
            sub.add_argument("gate", help="its name, as show prints it")
        if name == "override":
            sub.add_argument("--reason", required=True, help="why; it stays in sight")
        if name in ("approve", "schedule"):
            add_digest(sub, required=name == "approve")
        if name == "schedule":
            sub.add_argument("at", help="in the zone of the maintenance window, else the site's")
        add_user(sub, required=name not in ("ask-approval", "schedule"))
    add_user(verb("unschedule", "Cancel the start that waits for its time."))
    verb("checklist", "Show the checklist.")
    tick = verb("tick", "Tick an item of the checklist.")
    tick.add_argument("item")
    tick.add_argument("--take-back", action="store_true", help="take the tick back")
    add_user(tick)
    verb("probe", "Try the application's flows out, and roll them back.")


def add_digest(verb: Any, *, required: bool = False) -> None:
    """Let a verb refuse a phase that is another than the one that was read."""
    verb.add_argument(
        "--digest", required=required, help="of the phase that you read: sql prints it"
    )


def ask(rollout: Rollout, phase: int, user: str | None) -> str:
    actor = actor_of(user, "start_rollout", rollout.environment)
    asked = runner.ask_for_approval(rollout, phase, actor=actor, source="shell")
    return (
        f"Asked for approval of phase {phase} as {asked.phase_digest}. Another lead: manage.py "
        f"rollout approve {rollout.plan} {phase} --digest {asked.phase_digest} --user NAME"
    )


def approve(rollout: Rollout, phase: int, digest: str, user: str) -> str:
    actor = actor_of(user, "approve_rollout", rollout.environment)
    given = runner.approve(rollout, phase, seen=digest, actor=actor, source="shell")
    assert given.expires_at is not None
    return f"Phase {phase} is approved until {in_words(given.expires_at)}, for one start."


def withdraw(rollout: Rollout, phase: int, user: str) -> str:
    actor = actor_of(user, "approve_rollout", rollout.environment)
    evidence = Evidence(rollout, phase)
    found = [
        one
        for kind in (SignOffKind.APPROVAL, SignOffKind.OVERRIDE, SignOffKind.REQUEST)
        for one in evidence.sign_offs(kind)
        if one.actor_name == actor.get_username() and not void_reason(one, evidence)
    ]
    if not found:
        raise runner.Refused(f"{user} has signed nothing about phase {phase} that still counts.")
    for one in found:
        runner.withdraw(one, actor=actor, source="shell")
    return "\n".join(f"Withdrawn: {one}." for one in found)


def override(rollout: Rollout, phase: int, gate: str, reason: str, user: str) -> str:
    actor = actor_of(user, "override_gate", rollout.environment)
    given = runner.override(rollout, phase, gate, reason=reason, actor=actor, source="shell")
    assert given.expires_at is not None
    until = f"{in_words(given.expires_at)}"
    if plans.get(rollout.plan).is_guarded(phase):
        return (
            f"Gate “{gate}” is overridden until {until}, once another lead confirms it: manage.py "
            f"rollout confirm {rollout.plan} {phase} “{gate}” --user NAME"
        )
    return f"Gate “{gate}” is overridden until {until}, for one start."


def confirm(rollout: Rollout, phase: int, gate: str, user: str) -> str:
    actor = actor_of(user, "override_gate", rollout.environment)
    evidence = Evidence(rollout, phase)
    for one in evidence.sign_offs(SignOffKind.OVERRIDE):
        if one.subject == gate and not void_reason(one, evidence):
            runner.confirm_override(one, actor=actor, source="shell")
            return f"Confirmed {one.actor_name}'s override of gate “{gate}”."
    raise runner.Refused(f"Nobody overrides gate “{gate}” before phase {phase}.")


def schedule(rollout: Rollout, phase: int, at: str, digest: str | None, user: str | None) -> str:
    window = None if not 0 <= phase < 5 else window_of(plans.get(rollout.plan), phase)
    zone = timezone.get_default_timezone_name() if window is None else window.zone
    try:
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(zone))
        moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise runner.Refused(f"“{at}” is no time. Give it so: 2026-11-28T22:00.") from None
    actor = actor_of(user, "start_rollout", rollout.environment)
    made = runner.schedule_start(
        rollout, phase, at=moment, zone=zone, seen=digest, actor=actor, source="shell"
    )
    plan = plans.get(rollout.plan)
    destructive = " It is destructive." if plan.is_destructive(phase) else ""
    level = destructive or (" It is restrictive." if plan.is_restrictive(phase) else "")
    return (
        f"Phase {phase} starts at {in_zone(made.at, made.zone)}, if its gates let it then.{level}"
    )


def unschedule(rollout: Rollout, user: str | None) -> str:
    runner.unschedule(
        rollout, actor=actor_of(user, "start_rollout", rollout.environment), source="shell"
    )
    return "Cancelled the scheduled start."


def checklist(rollout: Rollout) -> tuple[str, bool]:
    """The checklist for people, and whether all of it is done."""
    found = checklist_of(Evidence(rollout, 1))
    lines = [
        f"{'done' if one.status == 'pass' else one.status:<8} {one.item.id}: {one.item.text}. "
        f"{one.message}"
        for one in found
    ]
    return "\n".join(lines) or "The plan has no checklist.", all(
        one.status == "pass" for one in found
    )


def tick(rollout: Rollout, item: str, user: str | None, *, take_back: bool) -> str:
    verb = runner.untick if take_back else runner.tick
    verb(rollout, item, actor=actor_of(user, "tick_checklist", rollout.environment), source="shell")
    return "The tick is taken back." if take_back else "Ticked."


def probe(rollout: Rollout) -> tuple[str, bool]:
    """Try the flows out now: what came of each, and whether all passed."""
    found = probe_all(rollout)
    lines = [f"{'passed' if one.passed else 'FAILED'}  {one.flow}: {one.message}" for one in found]
    return "\n".join(lines) or "The plan probes no flow.", all(one.passed for one in found)
