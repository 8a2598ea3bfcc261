"""What a plan that takes columns away has to do before it does."""

from collections.abc import Iterator

from rollout.checks.ids import CheckId
from rollout.checks.problems import Problem
from rollout.plan.archives import ArchiveLegacy
from rollout.plan.constraints import AddUnique
from rollout.plan.cutovers import CutOver
from rollout.plan.dropped_tables import DropTable
from rollout.plan.indexes import CreateIndex, DropIndex
from rollout.plan.plan import ENFORCE, Plan, Step
from rollout.plan.removals import DropLegacy, FreezeLegacy, replaced_columns
from rollout.plan.renamed_tables import RenameTable


def removal_problems(plan: Plan) -> Iterator[Problem]:
    steps = [step for phase in plan.phases for step in phase.steps]
    for number, step in enumerate(steps):
        if isinstance(step, DropLegacy) and plan.legacy_of(step.table):
            yield from _unfrozen(step, steps[:number])
            yield from _built_on_what_goes(plan, step)
        elif isinstance(step, DropTable | RenameTable) and step.label in {
            t.label for t in plan.tables
        }:
            yield Problem(
                CheckId.DROPPED_WHOLE,
                f"Step '{step.id}' takes the table {step.label} away, which the plan changes.",
                "Drop or rename it by another plan, once this one is done.",
            )
        elif isinstance(step, DropIndex) and step.unique:
            yield from _not_unique_meanwhile(plan, step, steps[:number])


def _unfrozen(drop: DropLegacy, before: list[Step]) -> Iterator[Problem]:
    frozen = False
    for step in before:
        frozen |= isinstance(step, FreezeLegacy) and step.table == drop.table
        if isinstance(step, ArchiveLegacy) and step.table == drop.table and not frozen:
            break
    if not frozen:
        yield Problem(
            CheckId.DROPPED_UNFROZEN,
            f"Step '{drop.id}' drops legacy columns of {drop.table.label} that were not frozen "
            "before they were archived: values written after the archive would be lost.",
            f"Put FreezeLegacy of {drop.table.label} before ArchiveLegacy.",
        )


def _built_on_what_goes(plan: Plan, drop: DropLegacy) -> Iterator[Problem]:
    """Steps whose index or constraint would go with the columns, and be missed as drift."""
    for phase in plan.phases[ENFORCE:]:
        for step in phase.steps:
            if isinstance(step, DropIndex) or getattr(step, "table", None) != drop.table:
                continue
            named, _ = plan.as_met_by(step)
            legacy = set(named.legacy_of(named.table_like(drop.table)))
            for column in sorted(legacy.intersection(step.needs)):
                yield Problem(
                    CheckId.BUILT_ON_LEGACY,
                    f"Step '{step.id}' uses {drop.table.label}.{column}, which step '{drop.id}' "
                    "drops.",
                    "Name the new column, or remove the step.",
                )


def _not_unique_meanwhile(plan: Plan, drop: DropIndex, before: list[Step]) -> Iterator[Problem]:
    new = {legacy: column for column, legacy in replaced_columns(plan, drop.table).items()}
    if not new.keys() & set(drop.columns):
        return
    wanted = tuple(new.get(column, column) for column in drop.columns)
    turns = [
        number
        for number, step in enumerate(before)
        if isinstance(step, CutOver) and step.table == drop.table
    ]
    if any(
        isinstance(step, CreateIndex | AddUnique)
        and step.unique
        and step.table == drop.table
        and set(step.columns) <= set(wanted)
        for step in before[: turns[0] if turns else None]
    ):
        return
    yield Problem(
        CheckId.NOT_UNIQUE_MEANWHILE,
        f"Step '{drop.id}' drops the unique index {drop.name} of {drop.table.label}, and none on "
        f"({', '.join(wanted)}) is created before the cutover: duplicates would be accepted.",
        f"Put a CreateIndex of columns={wanted!r} with unique=True into phase 3, before CutOver.",
    )
