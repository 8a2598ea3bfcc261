"""Other plans that are in progress on the columns of a plan, in the same environment."""

from collections.abc import Iterator

from rollout.engine.preflight import Item
from rollout.plan.dropped_tables import DropTable
from rollout.plan.plan import Plan
from rollout.plan.registry import plans
from rollout.plan.renamed_tables import RenameTable
from rollout.queries.migrations import progress_of

NAME = "other plans"

# A table by its label, or a column of it.
_Columns = set[tuple[str, ...]]


def item_of(plan: Plan, environment: str, phase: int) -> Item:
    """Whether another plan has begun and not ended that works with the same columns."""
    ahead = list(_ahead(plan, environment))
    if not ahead:
        return Item(NAME, "pass", "No other plan works with the same columns.", phase=phase)
    names = " ".join(
        f"The plan {other} is in progress and works with {columns}." for other, columns in ahead
    )
    return Item(
        NAME,
        "blocks",
        names,
        f"Finish phase 4 of {ahead[0][0]}, or roll it back, before this plan starts.",
        phase=phase,
    )


def refusal_to_roll_back(plan: Plan, environment: str) -> str:
    """Why a finished plan stays: another one has begun since on its columns; empty if none has.

    A plan that is in progress itself is let go back: of two, one must be able to.
    """
    if not progress_of(plan.name, environment).finished:
        return ""
    return next(
        (
            f"The plan {other} has begun since and works with {columns}. Roll {other} back to "
            "before phase 0 first, or finish it."
            for other, columns in _ahead(plan, environment)
        ),
        "",
    )


def _ahead(plan: Plan, environment: str) -> Iterator[tuple[str, str]]:
    """Name of each such plan, and the columns that both work with."""
    for other in plans:
        common = _in_common(plan, other) if other.name != plan.name else set()
        if not common:
            continue
        progress = progress_of(other.name, environment)
        if progress.expanding_since and not progress.finished:
            yield other.name, ", ".join(".".join(column) for column in sorted(common))


def _in_common(plan: Plan, other: Plan) -> _Columns:
    """The columns that one of the plans changes and the other one declares or adds, and tables
    that both take away.
    """
    known, changed = _columns(plan)
    known_too, changed_too = _columns(other)
    taken, taken_too = _taken_away(plan), _taken_away(other)
    # Both would build twins of an index over columns of both, which the other's cutover replaces.
    carried, carried_too = _carried(plan), _carried(other)
    return (
        (changed & known_too)
        | (changed_too & known)
        | {column for column in known_too if column[0] in taken}
        | {column for column in known if column[0] in taken_too}
        | {column for column in carried if column[0] in _tables(carried_too)}
        | {(label,) for label in taken & taken_too}
    )


def _carried(plan: Plan) -> _Columns:
    """The columns whose indexes and constraints go along with their name."""
    return {(table.label, column) for table in plan.tables for column in plan.carried_of(table)}


def _tables(columns: _Columns) -> set[str]:
    return {column[0] for column in columns}


def _taken_away(plan: Plan) -> set[str]:
    """The labels of tables that a plan drops or renames, and those that it gives them."""
    labels = set()
    for step in (step for phase in plan.phases for step in phase.steps):
        if isinstance(step, DropTable | RenameTable):
            labels.add(step.label)
        if isinstance(step, RenameTable):
            labels.add(step.new_label)
    return labels


def _columns(plan: Plan) -> tuple[_Columns, _Columns]:
    """Those that a plan declares or adds, and of these the ones that it alters or writes."""
    shapes = [plan.shape(done) for done in range(len(plan.phases) + 1)]
    known: _Columns = {
        (label, column) for shape in shapes for label in shape for column in shape[label]
    }
    followed: _Columns = {
        (table.label, column)
        for table in plan.tables
        for t in plan.conversions_of(table)
        for column in t.ways_back
    }
    changed: _Columns = {
        (label, column)
        for label, column in known
        if len({shape.get(label, {}).get(column) for shape in shapes}) > 1
    }
    return known, changed | followed
