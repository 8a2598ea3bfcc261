"""The catalog that a plan expects in each phase, and what each step changes of it."""

from rollout.plan.catalog import Catalog, Part, column_text
from rollout.plan.plan import Plan, Step
from rollout.plan.table import Shape


def expected(plan: Plan, phases_done: int, steps_done: int = 0) -> Catalog:
    """The catalog once that many phases are done, and that many steps of the next one.

    Composed once, as a page asks for all of them; each caller gets its own copy.
    """
    done = phases_done, steps_done
    if done not in plan.catalogs:
        plan.catalogs[done] = _composed(plan, phases_done, steps_done)
    return plan.catalogs[done].copy()


def _composed(plan: Plan, phases_done: int, steps_done: int) -> Catalog:
    begun = [step for phase in plan.phases[:phases_done] for step in phase.steps]
    if phases_done < len(plan.phases):
        begun += plan.phases[phases_done].steps[:steps_done]
    shape: Shape = {table.label: dict(table.columns) for table in plan.tables}
    catalog = Catalog()
    for table in plan.tables:
        catalog.put(table.label, Part("primary key"), f"({', '.join(table.key)})")
    for step in _steps(plan):
        step.assume(plan, catalog)
    for step in begun:
        named, met = plan.as_met_by(step)
        met.reshape(named, shape)
        met.recatalog(named, catalog)
    for label, columns in shape.items():
        catalog.tables.setdefault(label, {})
        for name, column in columns.items():
            catalog.put(label, Part("column", name), column_text(column))
    return catalog


def known_parts(plan: Plan) -> set[tuple[str, Part]]:
    """Every part that the plan has a say in, in whichever phase."""
    return {
        known for number in range(len(plan.phases) + 1) for known in expected(plan, number).known
    }


def changed_by(plan: Plan, number: int, steps_done: int = 0) -> set[tuple[str, Part]]:
    """The parts that a phase has changed after ``steps_done``, temporary ones included."""
    before = expected(plan, number, steps_done)
    changed: set[tuple[str, Part]] = set()
    for done in range(steps_done + 1, len(plan.phases[number].steps) + 1):
        after = expected(plan, number, done)
        changed |= after.known - before.known
        for table in before.tables.keys() | after.tables.keys():
            was, now = before.tables.get(table, {}), after.tables.get(table, {})
            changed |= {
                (table, part) for part in was.keys() | now.keys() if was.get(part) != now.get(part)
            }
        before = after
    return changed


def settled_triggers(plan: Plan, number: int, steps_done: int) -> dict[tuple[str, Part], str]:
    """Triggers made by a phase's first ``steps_done`` steps that its other steps leave alone."""
    made = changed_by(plan, number) - changed_by(plan, number, steps_done)
    now = expected(plan, number, steps_done)
    return {
        (table, part): now.tables[table][part]
        for table, part in made
        if part.kind == "trigger" and part in now.tables.get(table, {})
    }


def step_that_made(plan: Plan, number: int, table: str, part: Part) -> int | None:
    """The number of the step of a phase that put a part there last; None for another phase's."""
    for done in range(len(plan.phases[number].steps), 0, -1):
        text = [
            expected(plan, number, count).tables.get(table, {}).get(part)
            for count in (done - 1, done)
        ]
        if text[0] != text[1]:
            return done - 1
    return None


def labels(plan: Plan) -> list[str]:
    """The tables and views that the plan knows in some phase."""
    return sorted(
        {t for number in range(len(plan.phases) + 1) for t in expected(plan, number).tables}
    )


def _steps(plan: Plan) -> list[Step]:
    return [step for phase in plan.phases for step in phase.steps]
