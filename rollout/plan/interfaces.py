"""The TypeScript interfaces of a plan's tables once a phase is done, and whether a file has them.

Clients are released before or after a phase, never within it: so a file may have the interfaces of
the schema in force or those of the phase that comes next, and has to be renewed before the one
after that.
"""

from dataclasses import dataclass

from rollout.plan.plan import Plan
from rollout.plan.table import Shape
from rollout.plan.typescript import first_difference, interfaces
from rollout.plan.vocabulary_columns import enums_of


@dataclass(frozen=True)
class Verdict:
    """Whether a file may be in use now, and a sentence that says why.

    ``is_earlier``: it does not match, but is that of an earlier phase.
    """

    matches: bool
    message: str
    is_earlier: bool = False


def once_done(plan: Plan, live: Shape, phase: int, *, done: int) -> str:
    """The interfaces once a phase is done; before anything is they are those of phase -1.

    ``done`` phases are done now. What no phase between says anything about is as it is live.
    """
    return of_shape(plan, _shape(plan, live, phase, done))


def of_shape(plan: Plan, shape: Shape) -> str:
    """The interfaces of columns, with the values of the enum types that the plan makes."""
    return interfaces(plan.name, shape, enums_of(plan.translations))


def verdict(plan: Plan, live: Shape, text: str, *, done: int, under_way: bool = False) -> Verdict:
    """Whether a file's text is of the schema in force, or of that which the next phase makes.

    ``done`` phases are done. While the next one is ``under_way`` the live schema is neither.
    """
    texts = [once_done(plan, live, n, done=done) for n in range(-1, len(plan.phases))]
    if not under_way:
        texts[done] = of_shape(plan, live)
    now, following = texts[done], texts[min(done + 1, len(plan.phases))]
    difference = first_difference(now, text)
    moment = _moment(done - 1)
    if not difference:
        return Verdict(matches=True, message=f"Matches the current schema, {moment}.")
    if not first_difference(following, text):
        return Verdict(matches=True, message=f"Matches the schema after phase {done}.")
    lacks = f"Does not match the current schema, {moment}"
    if following != now:
        lacks = f"Matches neither the current schema, {moment}, nor the schema after phase {done}"
    old = next((n for n, other in enumerate(texts, -1) if not first_difference(other, text)), None)
    own = "" if old is None else f" It has the schema {_moment(old)}."
    is_earlier = old is not None and old < done - 1
    return Verdict(matches=False, message=f"{lacks}. {difference}{own}", is_earlier=is_earlier)


def _shape(plan: Plan, live: Shape, phase: int, done: int) -> Shape:
    last = len(plan.phases)
    known: dict[str, set[str]] = {}
    for number in range(last + 1):
        for table, columns in plan.shape(number).items():
            known.setdefault(table, set()).update(columns)
    # Columns of the next phase may be in the middle of their change.
    besides = plan.shape(done), plan.shape(min(done + 1, last))
    own_shape: Shape = {}
    for table, columns in plan.shape(phase + 1).items():
        there = live.get(table, {})
        own_shape[table] = {name: own for name, own in there.items() if name not in known[table]}
        for name, column in columns.items():
            kept = all(shape.get(table, {}).get(name) == column for shape in besides)
            own_shape[table][name] = there.get(name, column) if kept else column
    return own_shape


def _moment(phase: int) -> str:
    return "before phase 1" if phase < 1 else f"after phase {phase}"
