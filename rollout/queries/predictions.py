"""How long a rehearsed phase would take over the rows that an environment has now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from rollout.engine import planner
from rollout.journal.environments import target_of
from rollout.models import Direction
from rollout.plan.actions import Audit, Compute, Fill, Proof, Statement
from rollout.plan.copies import Copy
from rollout.plan.indexes import CreateMaterializedView
from rollout.plan.plan import Plan, Step
from rollout.queries.progress import TimeLeft
from rollout.queries.rehearsals import LegReport, Report

# The longest that a step may take, by its rate in the only rehearsal that there is: production has
# load of its own and colder caches.
SINGLE_FACTOR = 2.0


@dataclass(frozen=True)
class LegPrediction:
    """One phase, one way, in seconds: from the best rates that were rehearsed to the worst."""

    phase: int
    way: str
    seconds: TimeLeft
    scaled: tuple[str, ...]
    """The steps that take longer with more rows; all others count as rehearsed."""


@dataclass(frozen=True)
class Prediction:
    """``rehearsals`` is how many rehearsals of the same plan the range rests on."""

    rows: int
    rehearsals: int
    legs: tuple[LegPrediction, ...]

    def of(self, phase: int, way: str) -> LegPrediction | None:
        return next((leg for leg in self.legs if (leg.phase, leg.way) == (phase, way)), None)

    @property
    def forward(self) -> TimeLeft:
        return self._total(Direction.FORWARD)

    @property
    def rollback(self) -> TimeLeft:
        return self._total(Direction.BACKWARD)

    def _total(self, way: str) -> TimeLeft:
        seconds = [leg.seconds for leg in self.legs if leg.way == way]
        return TimeLeft(
            sum(span.shortest for span in seconds), sum(span.longest or 0 for span in seconds)
        )


def rows_now(plan: Plan, environment: str) -> dict[str, int] | None:
    """Rows of the plan's tables by label, about; None where they cannot be read now."""
    try:
        with target_of(environment).connect_briefly() as connection:
            return {t.label: planner.estimated_rows(connection, t) for t in plan.tables}
    except psycopg.Error:
        return None


def predict(plan: Plan, reports: Sequence[Report], rows: Mapping[str, int]) -> Prediction:
    """By the first report, with the rates of all of them; they are of rehearsals of this plan."""
    legs = [_leg(plan, leg, reports, rows) for leg in reports[0].legs if leg.run.state == "done"]
    return Prediction(sum(rows.values()), len(reports), tuple(legs))


def _leg(
    plan: Plan, leg: LegReport, reports: Sequence[Report], rows: Mapping[str, int]
) -> LegPrediction:
    # What passes between the steps does not grow.
    between = max((leg.seconds or 0) - sum(row.seconds or 0 for row in leg.steps), 0)
    shortest = longest = between
    scaled = []
    for row in leg.steps:
        step = plan.step(leg.phase, row.step)
        tables = tables_scanned(plan, step, leg.way)
        if not tables:
            shortest += row.seconds or 0
            longest += row.seconds or 0
            continue
        scaled.append(step.description)
        times = [
            seconds * _factor(report, tables, rows)
            for report in reports
            if (seconds := _seconds(report, leg, row.step)) is not None
        ]
        shortest += min(times, default=0)
        longest += max(times, default=0) * (1 if len(times) > 1 else SINGLE_FACTOR)
    return LegPrediction(leg.phase, leg.way, TimeLeft(shortest, longest), tuple(scaled))


def tables_scanned(plan: Plan, step: Step, way: str) -> tuple[str, ...]:
    """The tables whose every row a step reads, one way; none for changes of the catalog alone."""
    every = tuple(table.label for table in plan.tables)
    forward = way == Direction.FORWARD
    if forward and isinstance(step, CreateMaterializedView):
        return every
    tables: dict[str, None] = {}
    for action in (plan.forward(step) if forward else plan.backward(step)).actions:
        match action:
            case Fill() | Compute() | Proof() | Copy():
                tables[action.table.label] = None
            case Audit():
                return every
            case Statement() if action.lookup_label:
                tables |= {
                    lookup.table.label: None
                    for lookup in plan.lookups
                    if lookup.lookup_label == action.lookup_label
                }
            case Statement() if action.long or action.scans:
                tables |= dict.fromkeys([lock.table for lock in action.locks][:1] or every)
            case _:
                pass
    # What the engine keeps of a table has as many rows as the table, which the step reads too.
    return tuple(table for table in every if table in tables) or (every if tables else ())


def _factor(report: Report, tables: Sequence[str], rows: Mapping[str, int]) -> float:
    """How many times the rows of a rehearsal there are now; 1 where it had none to go by."""
    counts = report.rehearsal.snapshot.counts
    rehearsed = sum(counts.get(table, 0) for table in tables)
    return sum(rows.get(table, 0) for table in tables) / rehearsed if rehearsed else 1.0


def _seconds(report: Report, leg: LegReport, step: str) -> float | None:
    for other in report.legs:
        if (other.phase, other.way, other.run.state) == (leg.phase, leg.way, "done"):
            return next((row.seconds for row in other.steps if row.step == step), None)
    return None
