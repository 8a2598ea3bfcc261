"""The shell's verbs that only look: at the schema, at its types, at what a phase would meet."""

from pathlib import Path
from typing import Any

from rollout.engine import integer_keys
from rollout.engine.integer_keys import IntegerKey
from rollout.engine.preflight import Item, Level
from rollout.engine.target import TargetAway
from rollout.journal.environments import alias_of, target_of
from rollout.journal.rollouts import no_phase
from rollout.management.verbs import DONE, ERROR, NO, WARNED, AddVerb, Output, names_of
from rollout.models import Rollout
from rollout.plan import interfaces, plans, typescript
from rollout.queries import django_models, preflights, text_reports
from rollout.queries.schema_diffs import schema_of
from rollout.queries.status import all_rollouts, find_rollout

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

_NOTABLE = f"{100 * integer_keys.NOTABLE_SHARE:.0f}"


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "introspect",
        introspect,
        "Compare the live schema with the plan, of one plan or of all.",
        example="introspect order-states",
        no="the schema has drifted; 2 when an environment cannot be reached",
        plan="optional",
        as_json=True,
    )
    sub.add_argument("--against", metavar="ENV", help="compare with another environment")
    sub = add(
        "types",
        types,
        "Print TypeScript interfaces of the plan's tables.",
        example="types order-states --check frontend/order.ts",
        no="the file has neither the current schema nor that of the next phase",
    )
    sub.add_argument("--phase", type=int, help="show them as of the end of this phase")
    sub.add_argument("--check", metavar="FILE", help="check a file for drift")
    sub = add(
        "models",
        django_models_of,
        "Print the Django models of the plan's tables, release by release.",
        example="models order-states --phase 4",
    )
    sub.add_argument("--phase", type=int, help="print those of the release after this phase alone")
    sub.add_argument(
        "--lookup-fields",
        action="store_true",
        help="print a LookupField, which behaves as the text did, instead of a ForeignKey",
    )
    sub = add(
        "preflight",
        before_phase,
        "Check what could stop or hurt a phase.",
        example="preflight order-states 3",
        no="a check blocks; 3 when a check warns or is unknown",
        as_json=True,
    )
    sub.add_argument("phase", type=int, help="the phase, 0 to 4")
    add(
        "readiness",
        readiness,
        "List the preflight problems of all remaining phases, the worst first.",
        example="readiness order-states",
        no="a check blocks; 3 when a check warns or is unknown",
        as_json=True,
    )
    sub = add(
        "keys",
        keys,
        "List the integer keys that have used up much of their range, and when each runs out.",
        example="keys --env production",
        no=f"a key has used up more than {_NOTABLE} percent of its range, or cannot be read",
        plan="",
        as_json=True,
    )
    sub.add_argument("--all", action="store_true", dest="all_keys", help="list every integer key")


def introspect(out: Output, plan: str | None, env: str, against: str | None, as_json: bool) -> int:
    if against and not plan:
        out.say("--against requires a plan. Name the plan to compare.")
        return ERROR
    rollouts = [find_rollout(plan, env)] if plan else all_rollouts()
    other = find_rollout(plan, against) if plan and against else None
    reports = [_introspected(rollout, other) for rollout in rollouts]
    if as_json:
        out.say_json(reports[0] if plan else reports)
    for report in [] if as_json else reports:
        out.say(text_reports.introspection_as_text(report))
    if any("error" in report for report in reports):
        return ERROR
    return NO if any(report["drift"] for report in reports) else DONE


def _introspected(rollout: Rollout, other: Rollout | None) -> dict[str, Any]:
    """An unreachable environment is reported as such, so that the others still are."""
    try:
        if other is not None:
            return text_reports.introspect_against(rollout, other)
        return text_reports.introspect(rollout)
    except TargetAway as error:
        return text_reports.not_introspected(rollout, str(error))


def types(out: Output, rollout: Rollout, check: str | None, phase: int | None) -> int:
    if phase is not None and phase not in range(5):
        return out.complain(no_phase(phase))
    schema = schema_of(rollout)
    live = schema.live.shape
    text = (
        interfaces.of_shape(schema.plan, live)
        if phase is None
        else interfaces.once_done(schema.plan, live, phase, done=schema.phases_done)
    )
    if check is None:
        return out.say(text)
    try:
        there = Path(check).read_text()
    except (OSError, UnicodeDecodeError) as error:
        return out.complain(f"Cannot read {check}: {error}")
    if phase is None:
        verdict = interfaces.verdict(
            schema.plan,
            live,
            there,
            done=schema.phases_done,
            under_way=schema.steps_done is not None,
        )
        phase = max(schema.phases_done - 1, 0)
    else:
        difference = typescript.first_difference(text, there)
        message = difference or f"Matches the schema after phase {phase}."
        verdict = interfaces.Verdict(matches=not difference, message=message)
    if not verdict.matches:
        out.say(f"{check}: {verdict.message}")
        command = f"manage.py rollout types {rollout.plan} --phase {phase} > {check}"
        return out.say(f"Regenerate it: {command}", good=False)
    return out.say(f"{check}: {verdict.message}")


def django_models_of(
    out: Output, plan: str, env: str, phase: int | None, lookup_fields: bool
) -> int:
    if phase is not None and phase not in range(5):
        return out.complain(no_phase(phase))
    known = plans.get(plan)
    phases = django_models.phases_with_models(known) if phase is None else [phase]
    sources = [
        django_models.models_source(known, n, alias_of(env), lookup_fields=lookup_fields)
        for n in phases
    ]
    out.data.write("\n".join(sources), ending="")
    return DONE


def before_phase(out: Output, rollout: Rollout, phase: int, as_json: bool) -> int:
    if phase not in range(5):
        return out.complain(no_phase(phase))
    preflight = preflights.preflight_of(rollout, phase)
    if as_json:
        out.say_json({**names_of(rollout), "phase": phase, "items": preflights.as_data(preflight)})
    for item in [] if as_json else preflight.items:
        _say_item(out, item, of=phase)
    return _STATUS[preflight.worst]


def readiness(out: Output, rollout: Rollout, as_json: bool) -> int:
    findings = preflights.readiness_of(rollout)
    if as_json:
        later = [{"phase": phase, "name": name} for phase, name in findings.later]
        items = preflights.as_data(findings)
        report = {**names_of(rollout), "phase": findings.phase, "items": items}
        out.say_json({**report, "asked_later": later})
        return _STATUS[findings.worst]
    for item in findings.items:
        _say_item(out, item, of=None)
    out.say(findings.verdict)
    return _STATUS[findings.worst]


def _say_item(out: Output, item: Item, *, of: int | None) -> None:
    """``of`` is the phase that needs no mention."""
    phase = f"phase {item.phase}: " if item.phase is not None and item.phase != of else ""
    out.say(f"{_MARKS[item.level]:<8} {phase}{item.name}: {item.evidence}")
    if item.is_problem and item.advice:
        out.say(f"         {item.advice}")


def keys(out: Output, env: str, all_keys: bool, as_json: bool) -> int:
    with target_of(env).connect() as connection:
        connection.execute("SET statement_timeout = '10s'; SET lock_timeout = '500ms'")
        every = integer_keys.read(connection)
    notable = [key for key in every if key.is_notable or not key.is_read]
    listed = every if all_keys else notable
    if as_json:
        return out.say_json([_key_as_data(key) for key in listed], good=not notable)
    for key in listed:
        out.say(key.sentences)
    if not notable:
        out.say(f"No integer key has used more than {_NOTABLE} % of its range.")
    return NO if notable else DONE


def _key_as_data(key: IntegerKey) -> dict[str, Any]:
    """A key for programs; what is unknown is null."""
    return {
        "table": key.table.label,
        "column": key.column,
        "type": key.type,
        "last": key.last,
        "used": key.used if key.is_read else None,
        "per_day": key.rate and round(key.rate.per_day, 1),
        "since": key.rate and key.rate.since.isoformat(timespec="seconds"),
        "by": key.rate and key.rate.column,
        "days_left": None if key.left is None else key.left.days,
    }
