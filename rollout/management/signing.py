"""The shell's verbs for what people answer for: approvals, overrides, schedules, the checklist."""

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
from rollout.management.verbs import AddVerb, Output
from rollout.models import Rollout, SignOffKind
from rollout.plan import plans
from rollout.runner.scheduled_starts import window_of
from rollout.worker.probes import probe_all


def add_verbs(add: AddVerb) -> None:
    for name, run, text in (
        ("ask-approval", ask, "Ask other leads to approve a phase."),
        ("approve", approve, "Approve a phase, as a lead, by the digest that sql prints."),
        ("withdraw", withdraw, "Withdraw your approval of a phase, and your overrides before it."),
        ("override", override, "Let a phase start though a gate does not pass, for a reason."),
        (
            "confirm",
            confirm,
            "Confirm another lead's override before a destructive or restrictive phase.",
        ),
        ("schedule", schedule, "Have a phase started at a time: 2026-11-28T22:00."),
    ):
        sub = add(name, run, text)
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
    add_user(add("unschedule", unschedule, "Cancel the start that waits for its time."))
    add("checklist", checklist, "Show the checklist.")
    ticks = add("tick", tick, "Tick an item of the checklist.")
    ticks.add_argument("item")
    ticks.add_argument("--take-back", action="store_true", help="take the tick back")
    add_user(ticks)
    add("probe", probe, "Try the application's flows out, and roll them back.")


def add_digest(verb: Any, *, required: bool = False) -> None:
    """Let a verb refuse a phase that is another than the one that was read."""
    verb.add_argument(
        "--digest", required=required, help="of the phase that you read: sql prints it"
    )


def ask(out: Output, rollout: Rollout, phase: int, user: str | None) -> int:
    actor = actor_of(user, "start_rollout", rollout.environment)
    asked = runner.ask_for_approval(rollout, phase, actor=actor, source="shell")
    return out.say(
        f"Asked for approval of phase {phase} as {asked.phase_digest}. Another lead: manage.py "
        f"rollout approve {rollout.plan} {phase} --digest {asked.phase_digest} --user NAME"
    )


def approve(out: Output, rollout: Rollout, phase: int, digest: str, user: str) -> int:
    actor = actor_of(user, "approve_rollout", rollout.environment)
    given = runner.approve(rollout, phase, seen=digest, actor=actor, source="shell")
    assert given.expires_at is not None
    return out.say(f"Phase {phase} is approved until {in_words(given.expires_at)}, for one start.")


def withdraw(out: Output, rollout: Rollout, phase: int, user: str) -> int:
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
    return out.say("\n".join(f"Withdrawn: {one}." for one in found))


def override(out: Output, rollout: Rollout, phase: int, gate: str, reason: str, user: str) -> int:
    actor = actor_of(user, "override_gate", rollout.environment)
    given = runner.override(rollout, phase, gate, reason=reason, actor=actor, source="shell")
    assert given.expires_at is not None
    until = f"{in_words(given.expires_at)}"
    if plans.get(rollout.plan).is_guarded(phase):
        return out.say(
            f"Gate “{gate}” is overridden until {until}, once another lead confirms it: manage.py "
            f"rollout confirm {rollout.plan} {phase} “{gate}” --user NAME"
        )
    return out.say(f"Gate “{gate}” is overridden until {until}, for one start.")


def confirm(out: Output, rollout: Rollout, phase: int, gate: str, user: str) -> int:
    actor = actor_of(user, "override_gate", rollout.environment)
    evidence = Evidence(rollout, phase)
    for one in evidence.sign_offs(SignOffKind.OVERRIDE):
        if one.subject == gate and not void_reason(one, evidence):
            runner.confirm_override(one, actor=actor, source="shell")
            return out.say(f"Confirmed {one.actor_name}'s override of gate “{gate}”.")
    raise runner.Refused(f"Nobody overrides gate “{gate}” before phase {phase}.")


def schedule(
    out: Output, rollout: Rollout, phase: int, at: str, digest: str | None, user: str | None
) -> int:
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
    return out.say(
        f"Phase {phase} starts at {in_zone(made.at, made.zone)}, if its gates let it then.{level}"
    )


def unschedule(out: Output, rollout: Rollout, user: str | None) -> int:
    runner.unschedule(
        rollout, actor=actor_of(user, "start_rollout", rollout.environment), source="shell"
    )
    return out.say("Cancelled the scheduled start.")


def checklist(out: Output, rollout: Rollout) -> int:
    """The checklist for people: good once all of it is done."""
    found = checklist_of(Evidence(rollout, 1))
    lines = [
        f"{'done' if one.status == 'pass' else one.status:<8} {one.item.id}: {one.item.text}. "
        f"{one.message}"
        for one in found
    ]
    return out.say(
        "\n".join(lines) or "The plan has no checklist.",
        good=all(one.status == "pass" for one in found),
    )


def tick(out: Output, rollout: Rollout, item: str, take_back: bool, user: str | None) -> int:
    verb = runner.untick if take_back else runner.tick
    verb(rollout, item, actor=actor_of(user, "tick_checklist", rollout.environment), source="shell")
    return out.say("The tick is taken back." if take_back else "Ticked.")


def probe(out: Output, rollout: Rollout) -> int:
    """Try the flows out now: good where all passed."""
    found = probe_all(rollout)
    lines = [f"{'passed' if one.passed else 'FAILED'}  {one.flow}: {one.message}" for one in found]
    return out.say(
        "\n".join(lines) or "The plan probes no flow.", good=all(one.passed for one in found)
    )
