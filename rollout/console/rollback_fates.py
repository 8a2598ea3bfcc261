"""What becomes of the values of columns and tables that a rollback empties or drops."""

from collections.abc import Collection
from dataclasses import dataclass

from rollout.plan.archives import ArchiveLegacy
from rollout.plan.conversions import Conversion
from rollout.plan.extractions import Extract
from rollout.plan.indexes import DropIndex
from rollout.plan.plan import Plan
from rollout.plan.removals import DropLegacy
from rollout.plan.translations import Lookup


@dataclass(frozen=True)
class Fate:
    """Columns or tables that share a fate: ``title`` says whether values are lost."""

    title: str
    names: list[str]
    sentence: str


def is_archived(plan: Plan, phase: int) -> bool:
    """Whether a phase archives all values that it removes, so that its rollback restores them."""
    steps = plan.phases[phase].steps
    archived = {step.table.label for step in steps if isinstance(step, ArchiveLegacy)}
    # An index holds no values of its own.
    removals = [step for step in steps if step.destructive and not isinstance(step, DropIndex)]
    return bool(removals) and all(
        isinstance(step, DropLegacy) and step.table.label in archived for step in removals
    )


def fates_of(plan: Plan, gone: Collection[str], restored: Collection[str]) -> list[Fate]:
    """What is lost last. ``gone`` and ``restored`` are columns and tables by their labels."""
    kept, computed, open_to_writes, others = [], [], [], set(gone)
    for translation in plan.translations:
        names = [f"{translation.table.label}.{column}" for column in translation.added]
        names = [name for name in names if name in gone]
        others.difference_update(names)
        if isinstance(translation, Lookup) or (
            isinstance(translation, Conversion) and translation.ways_back
        ):
            kept += names
        elif isinstance(translation, Conversion) and translation.is_closed:
            computed += names
        else:
            open_to_writes += names
    of_rows = [t for t in plan.translations if isinstance(t, Lookup | Extract)]
    lookup_tables = sorted(others & {t.lookup_label for t in of_rows})
    others.difference_update(lookup_tables)
    archived = {
        f"{table.label}.{name}"
        for table in plan.tables
        for column in plan.legacy_of(table)
        # Until phase 3 is rolled back, a column has the name that the cutover gave it.
        for name in (column, plan.names_after_cutover(table).get(column, column))
    }
    back_first = any(name in archived for name in restored)
    fates = (
        Fate(
            "Restored exactly",
            [name for name in restored if name in archived],
            "from the archive; a value changed since then follows its new column.",
        ),
        Fate(
            "Restored",
            [name for name in restored if name not in archived],
            "without an archive: see the step's rollback.",
        ),
        Fate(
            "Not lost",
            kept,
            "the rollback of phase 4 brings each value back into the legacy columns first."
            if back_first
            else "the dual write has kept each value in the legacy columns too.",
        ),
        Fate("Not lost", computed, "phase 2 computes them again, and nobody can set others."),
        Fate(
            "Lost where the application set its own values",
            open_to_writes,
            "phase 2 computes all others again.",
        ),
        Fate(
            "Lost where people edited rows",
            lookup_tables,
            "phase 2 makes the rows again from legacy values and mapping decisions.",
        ),
        Fate("Lost", sorted(others), "no other column holds these values. Export them first."),
    )
    return [fate for fate in fates if fate.names]
