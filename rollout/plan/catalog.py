"""The catalog expected in a phase: columns, defaults, keys, indexes, constraints, triggers, views.

Everything is a part of a table with a text for people, so that comparing two catalogs is comparing
texts. The engine reads the live catalog into the same form.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from rollout.plan.table import Column

if TYPE_CHECKING:
    from rollout.plan.plan import Plan
    from rollout.plan.step import Shape, Step

# In the order in which pages list them.
Kind = Literal["view", "column", "default", "primary key", "index", "constraint", "trigger"]
KINDS: tuple[Kind, ...] = get_args(Kind)

A_TABLE, A_VIEW = "a table", "a materialized view"


class Part(NamedTuple):
    """One part of a table. A primary key and a view's own state have no name."""

    kind: Kind
    name: str = ""


VIEW = Part("view")
_NOT_NULL = " not null"
POPULATED = "populated"


@dataclass
class Catalog:
    """The parts of tables, by a table's label. ``known`` parts must be missing unless they are put.

    A part that is neither put nor known anywhere in a plan belongs to the application alone.
    """

    tables: "dict[str, dict[Part, str]]" = field(default_factory=dict)
    known: set[tuple[str, Part]] = field(default_factory=set)
    has_engine: bool = True
    """Whether the engine's own schema is there."""

    def put(self, table: str, part: Part, text: str) -> None:
        self.tables.setdefault(table, {})[part] = text
        self.known.add((table, part))

    def take(self, table: str, part: Part) -> None:
        """The part must be missing from here on."""
        self.tables.get(table, {}).pop(part, None)
        self.known.add((table, part))

    def know(self, table: str, part: Part) -> None:
        """The part must be missing unless it is put."""
        self.known.add((table, part))

    def copy(self) -> "Catalog":
        tables = {table: dict(parts) for table, parts in self.tables.items()}
        return Catalog(tables, set(self.known), self.has_engine)

    @property
    def shape(self) -> "Shape":
        """The columns of the tables; views are left out."""
        return {
            table: {
                part.name: Column(text.removesuffix(_NOT_NULL), not text.endswith(_NOT_NULL))
                for part, text in parts.items()
                if part.kind == "column"
            }
            for table, parts in sorted(self.tables.items())
            if VIEW not in parts
        }


def column_text(column: Column) -> str:
    return column.type if column.null else column.type + _NOT_NULL


def index_text(columns: tuple[str, ...], *, unique: bool = False, valid: bool = True) -> str:
    """An index as the catalogs tell it; a column that is an expression is ``EXPRESSION``."""
    kind = "unique btree" if unique else "btree"
    return f"{kind} ({', '.join(columns)}), {'valid' if valid else 'invalid'}"


EXPRESSION = "an expression"


def foreign_key_text(
    columns: tuple[str, ...], target: str, target_columns: tuple[str, ...], *, valid: bool = True
) -> str:
    there = f"{target} ({', '.join(target_columns)})"
    state = "validated" if valid else "not validated"
    return f"foreign key ({', '.join(columns)}) to {there}, {state}"


# Before a CHECK's condition in its comment: the server writes the condition itself otherwise.
CHECK_COMMENT = "rollout: "


def check_text(condition: str, *, valid: bool = True) -> str:
    """A CHECK of a plan's, by the condition as the plan writes it."""
    return f"check ({condition}), {'validated' if valid else 'not validated'}"


def unique_text(columns: tuple[str, ...]) -> str:
    return f"unique ({', '.join(columns)})"


# The end of a deferrable constraint's text.
DEFERRABLE = ", deferrable"


def trigger_text(what: str, *, enabled: bool = True) -> str:
    """A trigger of the engine by its stage, another one by its function."""
    return f"{what}, {'enabled' if enabled else 'disabled'}"


def expected(plan: "Plan", phases_done: int, steps_done: int = 0) -> Catalog:
    """The catalog once that many phases are done, and that many steps of the next one.

    Composed once, as a page asks for all of them; each caller gets its own copy.
    """
    done = phases_done, steps_done
    if done not in plan.catalogs:
        plan.catalogs[done] = _composed(plan, phases_done, steps_done)
    return plan.catalogs[done].copy()


def _composed(plan: "Plan", phases_done: int, steps_done: int) -> Catalog:
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
        step.reshape(plan, shape)
        step.recatalog(plan, catalog)
    for label, columns in shape.items():
        catalog.tables.setdefault(label, {})
        for name, column in columns.items():
            catalog.put(label, Part("column", name), column_text(column))
    return catalog


def known_parts(plan: "Plan") -> set[tuple[str, Part]]:
    """Every part that the plan has a say in, in whichever phase."""
    return {
        known for number in range(len(plan.phases) + 1) for known in expected(plan, number).known
    }


def changed_by(plan: "Plan", number: int, steps_done: int = 0) -> set[tuple[str, Part]]:
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


def settled_triggers(plan: "Plan", number: int, steps_done: int) -> dict[tuple[str, Part], str]:
    """Triggers made by a phase's first ``steps_done`` steps that its other steps leave alone."""
    made = changed_by(plan, number) - changed_by(plan, number, steps_done)
    now = expected(plan, number, steps_done)
    return {
        (table, part): now.tables[table][part]
        for table, part in made
        if part.kind == "trigger" and part in now.tables.get(table, {})
    }


def step_that_made(plan: "Plan", number: int, table: str, part: Part) -> int | None:
    """The number of the step of a phase that put a part there last; None for another phase's."""
    for done in range(len(plan.phases[number].steps), 0, -1):
        text = [
            expected(plan, number, count).tables.get(table, {}).get(part)
            for count in (done - 1, done)
        ]
        if text[0] != text[1]:
            return done - 1
    return None


def labels(plan: "Plan") -> list[str]:
    """The tables and views that the plan knows in some phase."""
    return sorted(
        {t for number in range(len(plan.phases) + 1) for t in expected(plan, number).tables}
    )


def _steps(plan: "Plan") -> "list[Step]":
    return [step for phase in plan.phases for step in phase.steps]
