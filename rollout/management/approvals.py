"""The shell's verbs for approvals, overrides, scheduled starts, the checklist and smoke tests."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.forms.models import model_to_dict
from django.utils import timezone

from rollout import runner
from rollout.gates import Evidence
from rollout.gates.checklists import checklist_of
from rollout.gates.overrides import void_reason
from rollout.journal.labels import gate_label
from rollout.journal.moments import in_words, in_zone
from rollout.management.actors import actor_of, add_user
from rollout.management.verbs import AddVerb, Output, names_of
from rollout.models import Rollout, SignOffKind
from rollout.plan import plans
from rollout.runner.addressees import from_whom
from rollout.runner.scheduled_starts import window_of
from rollout.worker.probes import probe_all


def add_verbs(add: AddVerb) -> None:
    for name, run, text, example in (
        ("ask-approval", ask, "Request approval for a phase.", "3 --to lead2"),
        (
            "approve",
            approve,
            "Approve a phase by the digest that sql prints.",
            "3 --digest DIGEST --user lead2",
        ),
        (
            "withdraw",
            withdraw,
            "Withdraw your approvals, overrides and requests for a phase.",
            "3 --user lead2",
        ),
        (
            "override",
            override,
            "Override a failing gate, with a reason.",
            '3 "Rehearsal passed" --reason "Rehearsed on staging by hand." --user lead',
        ),
        (
            "confirm",
            confirm,
            "Confirm another lead's override for a destructive or restrictive phase.",
            '3 "Rehearsal passed" --user lead2',
        ),
        (
            "schedule",
            schedule,
            "Schedule the start of a phase. The watchdog starts it if its gates pass then.",
            "3 2026-11-28T22:00",
        ),
    ):
        sub = add(name, run, text, example=f"{name} order-states {example}")
        sub.add_argument("phase", type=int, help="the phase, 0 to 4")
        if name in ("override", "confirm"):
            sub.add_argument("gate", help="name of the gate, as printed by show")
        if name == "ask-approval":
            sub.add_argument(
                "--to",
                action="append",
                default=[],
                metavar="NAME",
                help="address the request to this user (repeat for more; default: all who may "
                "approve)",
            )
            sub.add_argument("--comment", default="", help="comment for the approver")
        if name == "override":
            sub.add_argument("--reason", required=True, help="reason (shown and logged)")
        if name in ("approve", "schedule"):
            add_digest(sub, required=name == "approve")
        if name == "schedule":
            sub.add_argument(
                "at",
                help="start time, such as 2026-11-28T22:00, in the zone of the maintenance window "
                "or else the site's",
            )
        add_user(sub, required=name not in ("ask-approval", "schedule"))
    add_user(
        add(
            "unschedule",
            unschedule,
            "Cancel the scheduled start.",
            example="unschedule order-states",
        )
    )
    add(
        "checklist",
        checklist,
        "Show the checklist.",
        example="checklist order-states",
        no="an item is not done",
    )
    ticks = add(
        "tick", tick, "Mark a checklist item done.", example="tick order-states rollback-scripts"
    )
    ticks.add_argument("item", help="id of the item, as printed by checklist")
    ticks.add_argument("--take-back", action="store_true", help="undo: mark the item as not done")
    add_user(ticks)
    add(
        "probe",
        probe,
        "Run the plan's smoke tests in this process; each is rolled back.",
        example="probe order-states",
        no="a smoke test failed",
        as_json=True,
    )


def add_digest(verb: Any, *, required: bool = False, more: str = "") -> None:
    """Let a verb refuse a phase that has changed since it was reviewed."""
    text = f"phase digest that you reviewed, as printed by sql{more}"
    verb.add_argument("--digest", required=required, help=text)


def ask(
    out: Output, rollout: Rollout, phase: int, to: list[str], comment: str, user: str | None
) -> int:
    actor = actor_of(user, "start_rollout", rollout.environment)
    asked = runner.ask_for_approval(
        rollout, phase, to=to, comment=comment, actor=actor, source="shell"
    )
    return out.say(
        f"Approval requested for phase {phase}{from_whom(asked)}, digest {asked.phase_digest}. "
        f"Another lead approves it with: manage.py rollout approve {rollout.plan} {phase} --digest "
        f"{asked.phase_digest} --user NAME"
    )


def approve(out: Output, rollout: Rollout, phase: int, digest: str, user: str) -> int:
    actor = actor_of(user, "approve_rollout", rollout.environment)
    given = runner.approve(rollout, phase, seen=digest, actor=actor, source="shell")
    assert given.expires_at is not None
    return out.say(f"Phase {phase} approved until {in_words(given.expires_at)}, for one start.")


def withdraw(out: Output, rollout: Rollout, phase: int, user: str) -> int:
    actor = actor_of(user, "approve_rollout", rollout.environment)
    evidence = Evidence(rollout, phase)
    sign_offs = [
        sign_off
        for kind in (SignOffKind.APPROVAL, SignOffKind.OVERRIDE, SignOffKind.REQUEST)
        for sign_off in evidence.sign_offs(kind)
        if sign_off.actor_name == actor.get_username() and not void_reason(sign_off, evidence)
    ]
    if not sign_offs:
        raise runner.Refused(
            f"{user} has no valid approvals or overrides for phase {phase}. List them: manage.py "
            f"rollout show {rollout.plan}"
        )
    for sign_off in sign_offs:
        runner.withdraw(sign_off, actor=actor, source="shell")
    return out.say("\n".join(f"Withdrawn: {sign_off}." for sign_off in sign_offs))


def override(out: Output, rollout: Rollout, phase: int, gate: str, reason: str, user: str) -> int:
    actor = actor_of(user, "override_gate", rollout.environment)
    given = runner.override(rollout, phase, gate, reason=reason, actor=actor, source="shell")
    assert given.expires_at is not None
    until, gate = in_words(given.expires_at), gate_label(given.subject)
    if plans.get(rollout.plan).is_guarded(phase):
        return out.say(
            f"Gate “{gate}” overridden until {until}, once another lead confirms it with: "
            f"manage.py rollout confirm {rollout.plan} {phase} “{gate}” --user NAME"
        )
    return out.say(f"Gate “{gate}” overridden until {until}, for one start.")


def confirm(out: Output, rollout: Rollout, phase: int, gate: str, user: str) -> int:
    actor = actor_of(user, "override_gate", rollout.environment)
    evidence = Evidence(rollout, phase)
    for given in evidence.sign_offs(SignOffKind.OVERRIDE):
        if gate in (given.subject, gate_label(given.subject)) and not void_reason(given, evidence):
            runner.confirm_override(given, actor=actor, source="shell")
            return out.say(
                f"Confirmed {given.actor_name}'s override of gate “{gate_label(given.subject)}”."
            )
    raise runner.Refused(
        f"No override of gate “{gate}” for phase {phase}. List the gates: manage.py rollout show "
        f"{rollout.plan}"
    )


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
        raise runner.Refused(f"Invalid time “{at}”. Use a time such as 2026-11-28T22:00.") from None
    actor = actor_of(user, "start_rollout", rollout.environment)
    made = runner.schedule_start(
        rollout, phase, at=moment, zone=zone, seen=digest, actor=actor, source="shell"
    )
    plan = plans.get(rollout.plan)
    destructive = " This phase is destructive." if plan.is_destructive(phase) else ""
    level = destructive or (" This phase is restrictive." if plan.is_restrictive(phase) else "")
    return out.say(
        f"Phase {phase} starts at {in_zone(made.at, made.zone)} if its gates pass then.{level}"
    )


def unschedule(out: Output, rollout: Rollout, user: str | None) -> int:
    runner.unschedule(
        rollout, actor=actor_of(user, "start_rollout", rollout.environment), source="shell"
    )
    return out.say("Scheduled start cancelled.")


def checklist(out: Output, rollout: Rollout) -> int:
    """The checklist for people: good once every item is done."""
    entries = checklist_of(Evidence(rollout, 1))
    lines = [
        f"{'done' if entry.status == 'pass' else entry.status:<8} {entry.item.id}: "
        f"{entry.item.text}. {entry.message}"
        for entry in entries
    ]
    return out.say(
        "\n".join(lines) or "The plan has no checklist.",
        good=all(entry.status == "pass" for entry in entries),
    )


def tick(out: Output, rollout: Rollout, item: str, take_back: bool, user: str | None) -> int:
    verb = runner.untick if take_back else runner.tick
    verb(rollout, item, actor=actor_of(user, "tick_checklist", rollout.environment), source="shell")
    return out.say("Item marked as not done." if take_back else "Item marked as done.")


def probe(out: Output, rollout: Rollout, as_json: bool) -> int:
    """Run the smoke tests now: good if all passed."""
    results = probe_all(rollout)
    all_passed = all(result.passed for result in results)
    if as_json:
        shown = [model_to_dict(result, ("flow", "passed", "message")) for result in results]
        return out.say_json({**names_of(rollout), "flows": shown}, good=all_passed)
    lines = [
        f"{'passed' if result.passed else 'FAILED'}  {result.flow}: {result.message}"
        for result in results
    ]
    return out.say("\n".join(lines) or "The plan has no smoke tests.", good=all_passed)
