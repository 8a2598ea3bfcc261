"""The shell's verbs that only look: at the schema, at its types, at what a phase would meet."""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rollout.engine.preflight import Item, Level
from rollout.engine.target import TargetAway
from rollout.models import Rollout
from rollout.plan import interfaces, typescript
from rollout.queries import preflights, reruns, text_reports
from rollout.queries.schema_diffs import schema_of
from rollout.queries.status import all_rollouts, find_rollout

DONE, NO, ERROR, WARNED = 0, 1, 2, 3
_STATUS: dict[Level, int] = {
    "blocks": NO,
    "warns": WARNED,
    "unknown": WARNED,
    "info": DONE,
    "pass": DONE,
}
_MARKS: dict[Level, str] = {
    "blocks": "BLOCKS",
    "warns": "WARNS",
    "unknown": "UNKNOWN",
    "info": "INFO",
    "pass": "pass",
}
AddVerb = Callable[..., ArgumentParser]
Write = Callable[[str], Any]


def add_verbs(verb: AddVerb) -> None:
    """Add the arguments of these verbs to the command's own."""
    introspect = verb(
        "introspect", "Compare the live schema with the plan.", plan="optional", as_json=True
    )
    introspect.add_argument("--against", metavar="ENV", help="compare with another environment")
    types = verb("types", "Print TypeScript interfaces of the plan's tables as they are now.")
    types.add_argument("--phase", type=int, help="as they are once this phase is done")
    types.add_argument("--check", metavar="FILE", help="answer whether a file still matches")
    before = verb("preflight", "Look at what could go wrong with a phase.", as_json=True)
    before.add_argument("phase", type=int)
    verb("readiness", "List what would stop or hurt any phase still to come.", as_json=True)


def introspect(
    write: Write, *, plan: str | None, env: str, against: str | None, as_json: bool
) -> int:
    if against and not plan:
        write("Name a plan to compare with another environment.")
        return ERROR
    rollouts = [find_rollout(plan, env)] if plan else all_rollouts()
    other = find_rollout(plan, against) if plan and against else None
    found = [_introspected(rollout, other) for rollout in rollouts]
    if as_json:
        write(_json(found[0] if plan else found))
    for one in [] if as_json else found:
        write(text_reports.introspection_as_text(one))
    if any("error" in one for one in found):
        return ERROR
    return NO if any(one["drift"] for one in found) else DONE


def _introspected(rollout: Rollout, other: Rollout | None) -> dict[str, Any]:
    """An environment whose database is away is said to be, and the others are looked at."""
    try:
        if other is not None:
            return text_reports.introspect_against(rollout, other)
        return text_reports.introspect(rollout)
    except TargetAway as error:
        return text_reports.not_introspected(rollout, str(error))


def types(
    write: Write, complain: Write, *, plan: str, env: str, check: str | None, phase: int | None
) -> int:
    if phase is not None and phase not in range(5):
        complain(f"There is no phase {phase}: phases are 0 to 4.")
        return ERROR
    found = schema_of(find_rollout(plan, env))
    live = found.live.shape
    text = (
        typescript.interfaces(found.plan.name, live)
        if phase is None
        else interfaces.once_done(found.plan, live, phase, done=found.phases_done)
    )
    if check is None:
        write(text)
        return DONE
    try:
        there = Path(check).read_text()
    except (OSError, UnicodeDecodeError) as error:
        complain(f"{check} cannot be read: {error}")
        return ERROR
    if phase is None:
        verdict = interfaces.verdict(
            found.plan, live, there, done=found.phases_done, under_way=found.steps_done is not None
        )
        phase = max(found.phases_done - 1, 0)
    else:
        difference = typescript.first_difference(text, there)
        message = difference or f"It has the schema that phase {phase} makes."
        verdict = interfaces.Verdict(matches=not difference, message=message)
    if not verdict.matches:
        write(f"{check} does not match. {verdict.message}")
        write(f"Make it anew: manage.py rollout types {plan} --phase {phase} > {check}")
        return NO
    write(f"{check} matches. {verdict.message}")
    return DONE


def second_run(*, plan: str, env: str, phase: int, as_json: bool) -> tuple[str, bool]:
    """What a second run of a phase would find, and whether it changes nothing."""
    rollout = find_rollout(plan, env)
    found = reruns.verify(rollout, phase)
    if as_json:
        answer = {"plan": plan, "environment": env, **reruns.as_data(found)}
        return _json(answer), found.changes_nothing
    lines = [f"{each.answer:<8} {each.step.id}: {each.message}" for each in found.steps]
    return "\n".join([*lines, found.verdict]), found.changes_nothing


def before_phase(
    write: Write, complain: Write, *, plan: str, env: str, phase: int, as_json: bool
) -> int:
    if phase not in range(5):
        complain(f"There is no phase {phase}: phases are 0 to 4.")
        return ERROR
    found = preflights.look_before(find_rollout(plan, env), phase)
    if as_json:
        items = preflights.as_data(found)
        write(_json({"plan": plan, "environment": env, "phase": phase, "items": items}))
    for item in [] if as_json else found.items:
        _write_item(write, item, of=phase)
    return _STATUS[found.worst]


def readiness(write: Write, *, plan: str, env: str, as_json: bool) -> int:
    found = preflights.readiness_of(find_rollout(plan, env))
    if as_json:
        later = [{"phase": phase, "name": name} for phase, name in found.later]
        items = preflights.as_data(found)
        answer = {"plan": plan, "environment": env, "phase": found.phase, "items": items}
        write(_json({**answer, "asked_later": later}))
        return _STATUS[found.worst]
    for item in found.items:
        _write_item(write, item, of=None)
    write(found.verdict)
    return _STATUS[found.worst]


def _write_item(write: Write, item: Item, *, of: int | None) -> None:
    """``of`` is the phase that needs no mention."""
    phase = f"phase {item.phase}: " if item.phase is not None and item.phase != of else ""
    write(f"{_MARKS[item.level]:<8} {phase}{item.name}: {item.evidence}")
    if item.is_problem and item.advice:
        write(f"         {item.advice}")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
