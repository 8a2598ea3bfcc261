"""The gate about the checklist of phase 0, and the status of each of its items."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rollout.gates import drift
from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import is_not_started, newest_runs, phases_done, steps_done
from rollout.gates.registry import GateResult, check
from rollout.journal.environments import environments_of, is_protected
from rollout.journal.moments import in_words
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
from rollout.plan.gates import Answer, ChecklistComplete
from rollout.plan.step import BACKFILL


@dataclass(frozen=True)
class ItemStatus:
    """Whether an item of the checklist is done, and what or who says so."""

    item: Item
    status: Answer
    message: str
    tick: SignOff | None = None
    kind: Literal["automatic", "person"] = "automatic"

    @property
    def ticked_by_hand(self) -> bool:
        return self.kind == "person"


@check(ChecklistComplete)
def checklist_complete(gate: ChecklistComplete, evidence: Evidence) -> GateResult:
    items = checklist_of(evidence)
    if not items:
        return "unknown", "The plan has no checklist. Give it one, or leave this gate out."
    missing = [item for item in items if item.status != "pass"]
    if not missing:
        return "pass", f"All {len(items)} items are done."
    worst: Answer = "fail" if any(item.status == "fail" for item in missing) else "unknown"
    named = "; ".join(item.item.text for item in missing[:3])
    more = f"; and {len(missing) - 3} more" if len(missing) > 3 else ""
    return worst, f"{len(missing)} of {len(items)} items are not done: {named}{more}."


def checklist_of(evidence: Evidence) -> list[ItemStatus]:
    """The status of each item of the plan's checklist."""
    ticks = {tick.subject: tick for tick in evidence.sign_offs(SignOffKind.TICK, phase=0)}
    statuses = []
    for item in evidence.plan.checklist:
        if type(item) is Item:
            statuses.append(_by_hand(item, ticks.get(item.id)))
        else:
            statuses.append(ItemStatus(item, *_automatic(item, evidence)))
    return statuses


def types_of(evidence: Evidence) -> list[ItemStatus]:
    """The items about clients' interfaces, which go stale with every phase."""
    if not is_protected(evidence.rollout.environment):
        return []
    return [
        ItemStatus(item, *_types(evidence, item.file))
        for item in evidence.plan.checklist
        if isinstance(item, TypesMatch)
    ]


def _by_hand(item: Item, tick: SignOff | None) -> ItemStatus:
    if tick is None:
        return ItemStatus(item, "fail", item.help or "Nobody has ticked it yet.", kind="person")
    return ItemStatus(item, "pass", f"{tick.actor_name}, {in_words(tick.at)}", tick, "person")


def _automatic(item: Item, evidence: Evidence) -> GateResult:
    match item:
        case StepsDescribed():
            return _described(evidence)
        case FlowsTested():
            return _tested(evidence)
        case TypesMatch(file=file):
            return _types(evidence, file)
        case EnvironmentIntrospected(environment=name):
            return _introspected(evidence, name)
        case BackfillRehearsed(environment=name):
            return _rehearsed(evidence, name)
    return "unknown", "Nothing here can tell whether it is done."


def _described(evidence: Evidence) -> GateResult:
    phases = evidence.plan.phases
    steps = [step for phase in phases for step in phase.steps]
    bare = [step.id or "(no id)" for step in steps if not (step.id and step.description.strip())]
    bare += [f"phase {n}" for n, phase in enumerate(phases) if not phase.description.strip()]
    if bare:
        return "fail", f"Without an id or a description: {', '.join(bare[:5])}."
    return "pass", f"{len(steps)} steps in {len(phases)} phases."


def _tested(evidence: Evidence) -> GateResult:
    flows, probes = evidence.plan.flows, evidence.facts.probes
    failed = [flow for flow in flows if flow in probes and not probes[flow].passed]
    if failed:
        return "fail", f"{failed[0]} failed: {probes[failed[0]].message}"
    missing = [flow for flow in flows if flow not in probes]
    if missing or not flows:
        return "fail", f"Not tried out yet: {', '.join(missing) or 'the plan has no flow'}."
    newest = max(probes[flow].at for flow in flows)
    return "pass", f"{len(flows)} flows worked, the last at {in_words(newest)}."


def _types(evidence: Evidence, file: str) -> GateResult:
    try:
        text = Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        return "unknown", f"{file} cannot be read: {error}"
    plan, runs = evidence.plan, evidence.runs
    schema = drift.live_schema(evidence.rollout, plan, evidence.number, evidence.run)
    if isinstance(schema, str):
        return "unknown", schema
    done = phases_done(runs)
    under_way = not is_not_started(runs.get(done))
    verdict = interfaces.verdict(plan, schema.shape, text, done=done, under_way=under_way)
    if verdict.matches:
        return "pass", f"{Path(file).name}: {verdict.message}"
    phase = max(done - 1, 0)
    command = f"manage.py rollout types {plan.name} --phase {phase} > {Path(file).name}"
    return "fail", f"{Path(file).name}: {verdict.message} Make it again: {command}"


def _introspected(evidence: Evidence, name: str) -> GateResult:
    if not name:
        return _introspected_in_rehearsal(evidence)
    if name not in environments_of(evidence.plan.name):
        return "unknown", f"There is no environment “{name}”. Make one, and look at its schema."
    other = Rollout.objects.filter(plan=evidence.plan.name, environment=name).first()
    if other is None:
        return "unknown", f"Nobody has looked at {name} yet. Open its page."
    runs = newest_runs(other)
    done = phases_done(runs)
    run = runs.get(done)
    return drift.check_schema(
        other, evidence.plan, done, run, steps_done=steps_done(evidence.plan, run)
    )


def _introspected_in_rehearsal(evidence: Evidence) -> GateResult:
    for rehearsal in evidence.facts.rehearsals:
        is_current = rehearsal.plan_digest == evidence.plan.digest
        ended = rehearsal.finished_at
        if rehearsal.state == RehearsalState.PASSED and is_current and ended is not None:
            return "pass", (
                f"Rehearsal {rehearsal.pk} began with a schema as the plan expects it before phase "
                f"{rehearsal.first_phase}, and ended with the same, {in_words(ended)}."
            )
    return "fail", "No rehearsal of the plan as it is has passed yet. Rehearse it."


def _rehearsed(evidence: Evidence, name: str) -> GateResult:
    """Whether phase 2 ended in another environment, even if it was rolled back there since."""
    if name and name not in environments_of(evidence.plan.name):
        return "unknown", f"There is no environment “{name}” to rehearse in. Make one."
    elsewhere = evidence.facts.filled_elsewhere
    runs = [run for run in elsewhere if name in ("", run.rollout.environment)]
    if not runs:
        where = f"in {name}" if name else "in another database"
        return "fail", f"Phase {BACKFILL} was not carried out {where} yet. Rehearse the plan."
    newest = runs[0]
    environment, ended = newest.rollout.environment, newest.finished_at
    assert ended is not None
    if newest.plan_digest != evidence.plan.digest:
        return "fail", (
            f"{environment} carried phase {BACKFILL} out with another version of the plan. "
            "Rehearse it again."
        )
    review = evidence.facts.review
    if review is not None and review.at > ended:
        return "fail", (
            f"{environment} carried phase {BACKFILL} out before {review}. Take a snapshot, "
            "and rehearse it again."
        )
    return "pass", (
        f"Phase {BACKFILL} filled in every row in {environment} for {newest.actor_name}, "
        f"{in_words(ended)}."
    )
