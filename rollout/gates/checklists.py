"""The gate about the checklist of phase 0, and the status of each of its items."""

from dataclasses import dataclass
from pathlib import Path

from rollout.gates import drift
from rollout.gates.evidence import Evidence
from rollout.gates.guardrails import smoke_tests_passed
from rollout.gates.phase_states import is_not_started, newest_runs, phases_done, steps_done
from rollout.gates.registry import (
    Action,
    GateResult,
    Status,
    check,
    failed,
    passed,
    pending,
    unknown,
)
from rollout.gates.rehearsals import rehearsal_under_way, rehearse_from_before, rehearse_from_new
from rollout.journal.environments import environments_of, is_protected
from rollout.journal.moments import in_words
from rollout.logs.texts import counted, listed
from rollout.models import RehearsalState, Rollout, SignOff, SignOffKind
from rollout.plan import interfaces
from rollout.plan.checklist import (
    BackfillRehearsed,
    EnvironmentIntrospected,
    FlowsTested,
    Item,
    StepsDescribed,
    TypesMatch,
)
from rollout.plan.gates import ChecklistComplete
from rollout.plan.plan import BACKFILL, CONTRACT


@dataclass(frozen=True)
class ItemStatus:
    """Whether an item of the checklist is done, with the evidence and the next thing to do."""

    item: Item
    status: Status
    message: str
    action: Action | None = None
    tick: SignOff | None = None
    progress: float | None = None

    @property
    def ticked_by_hand(self) -> bool:
        return type(self.item) is Item


@check(ChecklistComplete)
def checklist_complete(gate: ChecklistComplete, evidence: Evidence) -> GateResult:
    items = checklist_of(evidence)
    if not items:
        return unknown(
            "edit_plan", "The plan has no checklist. Define one, or remove this gate from the plan."
        )
    missing = [item for item in items if item.status != "pass"]
    if not missing:
        return passed(f"All {len(items)} items complete.")
    named = listed([item.item.text for item in missing], 3)
    message = f"{len(missing)} of {len(items)} items open: {named}."
    if all(item.action == "wait" for item in missing):
        return pending("wait", f"{message} {missing[0].message}", progress=missing[0].progress)
    message += " Complete the checklist."
    states = {item.status for item in missing}
    if "fail" in states:
        return failed("complete_checklist", message)
    if "unknown" in states:
        return unknown("complete_checklist", message)
    return pending("complete_checklist", message)


def checklist_of(evidence: Evidence) -> list[ItemStatus]:
    """The status of each item of the plan's checklist."""
    by_hand = {status.item.id: status for status in marked_by_hand(evidence)}
    return [
        by_hand[item.id] if type(item) is Item else _status_of(item, _automatic(item, evidence))
        for item in evidence.plan.checklist
    ]


def marked_by_hand(evidence: Evidence) -> list[ItemStatus]:
    """The status of the items that people mark."""
    ticks = {tick.subject: tick for tick in evidence.sign_offs(SignOffKind.TICK, phase=0)}
    return [_by_hand(i, ticks.get(i.id)) for i in evidence.plan.checklist if type(i) is Item]


def _status_of(item: Item, result: GateResult) -> ItemStatus:
    return ItemStatus(item, result.status, result.message, result.action, progress=result.progress)


def types_of(evidence: Evidence) -> list[ItemStatus]:
    """The items about clients' interfaces, which every phase makes outdated."""
    if not is_protected(evidence.rollout.environment):
        return []
    return [
        _status_of(item, _types(evidence, item.file))
        for item in evidence.plan.checklist
        if isinstance(item, TypesMatch)
    ]


def _by_hand(item: Item, tick: SignOff | None) -> ItemStatus:
    if tick is None:
        return ItemStatus(item, "pending", item.help or "Not done yet.", "mark_done")
    return ItemStatus(item, "pass", f"{tick.actor_name}, {in_words(tick.at)}", tick=tick)


def _automatic(item: Item, evidence: Evidence) -> GateResult:
    match item:
        case StepsDescribed():
            return _described(evidence)
        case FlowsTested():
            return smoke_tests_passed(evidence)
        case TypesMatch(file=file):
            return _types(evidence, file)
        case EnvironmentIntrospected(environment=name):
            return _introspected(evidence, name)
        case BackfillRehearsed(environment=name):
            return _rehearsed(evidence, name)
    return unknown("edit_plan", "Cannot be checked automatically. Define it as a plain Item.")


def _described(evidence: Evidence) -> GateResult:
    phases = evidence.plan.phases
    steps = [step for phase in phases for step in phase.steps]
    bare = [step.id or "(no id)" for step in steps if not (step.id and step.description.strip())]
    bare += [f"phase {n}" for n, phase in enumerate(phases) if not phase.description.strip()]
    if bare:
        return failed(
            "edit_plan", f"Without an id or a description: {', '.join(bare[:5])}. Add them."
        )
    return passed(f"{counted(len(steps), 'step')} in {counted(len(phases), 'phase')}.")


def _types(evidence: Evidence, file: str) -> GateResult:
    try:
        text = Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        return unknown("export_types", f"{file} cannot be read: {error}")
    plan, runs = evidence.plan, evidence.runs
    schema = drift.live_schema(evidence.rollout, plan, evidence.number, evidence.run)
    if isinstance(schema, str):
        return unknown("check_database", schema)
    done = phases_done(runs)
    under_way = not is_not_started(runs.get(done))
    verdict = interfaces.verdict(plan, schema.shape, text, done=done, under_way=under_way)
    if verdict.matches:
        return passed(f"{Path(file).name}: {verdict.message}")
    phase = max(done - 1, 0)
    command = f"manage.py rollout types {plan.name} --phase {phase} > {Path(file).name}"
    # Until the last phase drops columns, what clients know of them stays true.
    status_of = pending if verdict.is_earlier and done <= CONTRACT else failed
    return status_of("export_types", f"{Path(file).name}: {verdict.message} Export it: {command}")


def _introspected(evidence: Evidence, name: str) -> GateResult:
    if not name:
        return _introspected_in_rehearsal(evidence)
    if missing := _no_environment(evidence, name):
        return missing
    other = Rollout.objects.filter(plan=evidence.plan.name, environment=name).first()
    if other is None:
        return pending("check_schema", f"Not checked in {name} yet. Open its Schema page.")
    runs = newest_runs(other)
    done = phases_done(runs)
    run = runs.get(done)
    return drift.check_schema(
        other, evidence.plan, done, run, steps_done=steps_done(evidence.plan, run)
    )


def _no_environment(evidence: Evidence, name: str) -> GateResult | None:
    if not name or name in environments_of(evidence.plan.name):
        return None
    return unknown("create_environment", f"No environment “{name}”. Create it first.")


def _introspected_in_rehearsal(evidence: Evidence) -> GateResult:
    for rehearsal in evidence.facts.rehearsals:
        is_current = rehearsal.plan_digest == evidence.plan.digest
        ended = rehearsal.finished_at
        if rehearsal.state == RehearsalState.PASSED and is_current and ended is not None:
            return passed(
                f"Verified by rehearsal {rehearsal.pk}, before phase {rehearsal.first_phase} and "
                f"after its rollback, {in_words(ended)}."
            )
    return rehearsal_under_way(evidence) or pending(
        "rehearse", "No passing rehearsal for this plan version. Rehearse the plan."
    )


def _began_too_late(evidence: Evidence) -> GateResult | None:
    newest = next(iter(evidence.facts.rehearsals), None)
    if newest is None or newest.first_phase <= BACKFILL or newest.state != RehearsalState.PASSED:
        return None
    problem = f"Rehearsal {newest.pk} passed, but ran no backfill:"
    return rehearse_from_before(evidence, BACKFILL, problem)


def _rehearsed(evidence: Evidence, name: str) -> GateResult:
    result = _backfilled(evidence, name)
    if name or result.status == "pass":
        return result
    return rehearsal_under_way(evidence) or result


def _backfilled(evidence: Evidence, name: str) -> GateResult:
    """Whether phase 2 finished in another environment, even if it was rolled back there since."""
    if missing := _no_environment(evidence, name):
        return missing
    elsewhere = evidence.facts.filled_elsewhere
    runs = [run for run in elsewhere if name in ("", run.rollout.environment)]
    if not runs:
        where = f" in {name}" if name else ""
        too_late = None if name else _began_too_late(evidence)
        return too_late or pending(
            "rehearse", f"Backfill not rehearsed{where} yet. Rehearse the plan."
        )
    newest = runs[0]
    rehearsals = {r.sandbox_id: f"rehearsal {r.pk}" for r in evidence.facts.rehearsals}
    environment = rehearsals.get(newest.rollout_id, newest.rollout.environment)
    ended = newest.finished_at
    assert ended is not None
    if newest.plan_digest != evidence.plan.digest:
        return pending(
            "rehearse",
            f"Last rehearsed in {environment} with another version of the plan. Rehearse again.",
        )
    review = evidence.facts.review
    if review is not None and review.at > ended:
        return rehearse_from_new(evidence, f"Last rehearsed in {environment} before {review}.")
    return passed(f"Rehearsed in {environment} by {newest.actor_name} at {in_words(ended)}.")
