"""A rollout's live schema beside what its plan expects, or beside another environment's."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from rollout import gates
from rollout.engine import catalog
from rollout.engine.catalog import Drift
from rollout.journal.environments import target_of
from rollout.models import PhaseRun, Rollout
from rollout.plan import plans
from rollout.plan.catalog import KINDS, Catalog, Part, what_has
from rollout.plan.expected_catalogs import expected, known_parts
from rollout.plan.plan import Plan

State = Literal["same", "different", "missing", "unexpected", "own"]


@dataclass(frozen=True)
class Schema:
    """The live schema of a rollout. ``steps_done`` are those of the next phase once it started."""

    plan: Plan
    environment: str
    phases_done: int
    steps_done: int | None
    live: Catalog

    @property
    def drifts(self) -> list[Drift]:
        return catalog.compare(
            self.plan, phases_done=self.phases_done, live=self.live, steps_done=self.steps_done
        )


@dataclass(frozen=True)
class Row:
    """A part of a table on both sides; empty on a side that lacks it."""

    kind: str
    name: str
    left: str
    right: str
    state: State

    @property
    def differs(self) -> bool:
        return self.state not in ("same", "own")


@dataclass(frozen=True)
class TableRows:
    """A table on both sides; ``only`` names the side if the other lacks it."""

    table: str
    rows: list[Row]
    only: Literal["", "left", "right"] = ""

    @property
    def differs(self) -> bool:
        return bool(self.only) or bool(self.differing)

    @property
    def differing(self) -> list[Row]:
        """All rows of a table that one side lacks."""
        return self.rows if self.only else [row for row in self.rows if row.differs]

    @property
    def same(self) -> list[Row]:
        return [] if self.only else [row for row in self.rows if not row.differs]


def schema_of(
    rollout: Rollout, runs: Mapping[int, PhaseRun] | None = None, *, in_full: bool = False
) -> Schema:
    """Read the live schema of a rollout. Raises psycopg.Error."""
    plan = plans.get(rollout.plan)
    runs = gates.newest_runs(rollout) if runs is None else runs
    done = gates.phases_done(runs)
    with target_of(rollout.environment).connect_briefly(5) as connection:
        live = catalog.read(connection, catalog.labels_of(plan), in_full=in_full)
    steps_done = gates.steps_done(plan, runs.get(done))
    return Schema(plan, rollout.environment, done, steps_done, live)


def against_plan(schema: Schema) -> list[TableRows]:
    """What the plan expects on the left, what is there on the right."""
    drifting = {(drift.table, Part(drift.kind, drift.column)) for drift in schema.drifts}
    alone = {drift.table for drift in schema.drifts if drift.is_table}
    known = known_parts(schema.plan)
    planned = expected(schema.plan, schema.phases_done)

    def state_of(table: str, part: Part, left: str, right: str) -> State:
        if (table, part) in drifting:
            return _difference(left, right)
        return "same" if (table, part) in known else "own"

    return _tables(planned, schema.live, alone, state_of)


def against(left: Schema, right: Schema) -> list[TableRows]:
    """One environment on the left, another on the right, column order aside."""

    def state_of(table: str, part: Part, here: str, there: str) -> State:
        return "same" if here == there else _difference(here, there)

    alone = left.live.tables.keys() ^ right.live.tables.keys()
    return _tables(left.live, right.live, alone, state_of)


def differences(here: Schema, there: Schema) -> list[Drift]:
    """Every difference between two environments: what the first has counts as expected."""
    drifts: list[Drift] = []
    for table in sorted(here.live.tables.keys() | there.live.tables.keys()):
        left, right = here.live.tables.get(table), there.live.tables.get(table)
        if left is None or right is None:
            what = what_has(left or right or {})
            wanted, actual = ("none" if side is None else what for side in (left, right))
            drifts.append(Drift(table, "", wanted, actual))
        else:
            drifts += [
                Drift(d.table, d.column, d.expected.removesuffix(" in this phase"), d.found, d.kind)
                for d in catalog.differences(table, left, right)
            ]
    return drifts


def _difference(left: str, right: str) -> State:
    return "missing" if not right else "unexpected" if not left else "different"


def _tables(
    left: Catalog,
    right: Catalog,
    alone: Collection[str],
    state_of: Callable[[str, Part, str, str], State],
) -> list[TableRows]:
    sides = []
    for table in sorted(left.tables.keys() | right.tables.keys()):
        here, there = left.tables.get(table, {}), right.tables.get(table, {})
        only: Literal["", "left", "right"] = ""
        if table in alone:
            only = "left" if table in left.tables else "right"
        parts = list(dict.fromkeys([*here, *there]))
        parts.sort(key=lambda part: KINDS.index(part.kind))
        sides.append(
            TableRows(
                table,
                [
                    Row(
                        part.kind,
                        part.name,
                        here.get(part, ""),
                        there.get(part, ""),
                        state_of(table, part, here.get(part, ""), there.get(part, "")),
                    )
                    for part in parts
                ],
                only,
            )
        )
    return sides
