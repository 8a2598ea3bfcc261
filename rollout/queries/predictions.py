"""How long a rehearsed phase would take over the rows that an environment has now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from rollout.engine import planner
from rollout.journal.environments import target_of
from rollout.models import Direction
from rollout.plan.actions import Audit, Compute, Fill, Statement
from rollout.plan.copies import Copy
from rollout.plan.indexes import CreateMaterializedView
from rollout.plan.plan import Plan, Step
from rollout.plan.proofs import Proof
from rollout.queries.progress import TimeLeft
from rollout.queries.rehearsals import PhaseResult, Report

# The longest that a step may take, by its rate in the only rehearsal that there is: production has
# load of its own and colder caches.
SINGLE_FACTOR = 2.0


@dataclass(frozen=True)
class PhasePrediction:
    """A phase in one direction, in seconds: from the best rehearsed rates to the worst."""

    phase: int
    direction: str
    seconds: TimeLeft
    scaled: tuple[str, ...]
    """The steps that take longer with more rows; all others count as rehearsed."""


@dataclass(frozen=True)
class Prediction:
    """``rehearsals`` is how many rehearsals of the same plan the range rests on."""

    rows: int
    rehearsals: int
    phases: tuple[PhasePrediction, ...]

    def of(self, phase: int, direction: str) -> PhasePrediction | None:
        return next((p for p in self.phases if (p.phase, p.direction) == (phase, direction)), None)

    @property
    def forward(self) -> TimeLeft:
        return self._total(Direction.FORWARD)

    @property
    def rollback(self) -> TimeLeft:
        return self._total(Direction.BACKWARD)

    def _total(self, direction: str) -> TimeLeft:
        seconds = [phase.seconds for phase in self.phases if phase.direction == direction]
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
    done = [result for result in reports[0].results if result.run.state == "done"]
    phases = tuple(_phase(plan, result, reports, rows) for result in done)
    return Prediction(sum(rows.values()), len(reports), phases)


def _phase(
    plan: Plan, result: PhaseResult, reports: Sequence[Report], rows: Mapping[str, int]
) -> PhasePrediction:
    # What passes between the steps does not grow.
    between = max((result.seconds or 0) - sum(row.seconds or 0 for row in result.steps), 0)
    shortest = longest = between
    scaled = []
    for row in result.steps:
        step = plan.step(result.phase, row.step)
        tables = tables_scanned(plan, step, result.direction)
        if not tables:
            shortest += row.seconds or 0
            longest += row.seconds or 0
            continue
        scaled.append(step.description)
        times = [
            seconds * _factor(report, tables, rows)
            for report in reports
            if (seconds := _seconds(report, result, row.step)) is not None
        ]
        shortest += min(times, default=0)
        longest += max(times, default=0) * (1 if len(times) > 1 else SINGLE_FACTOR)
    return PhasePrediction(
        result.phase, result.direction, TimeLeft(shortest, longest), tuple(scaled)
    )


def tables_scanned(plan: Plan, step: Step, direction: str) -> tuple[str, ...]:
    """Tables whose every row a step reads one way; none if it changes the catalog alone."""
    every = tuple(table.label for table in plan.tables)
    forward = direction == Direction.FORWARD
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


def _seconds(report: Report, result: PhaseResult, step: str) -> float | None:
    for other in report.results:
        if (other.phase, other.direction, other.run.state) == (
            result.phase,
            result.direction,
            "done",
        ):
            return next((row.seconds for row in other.steps if row.step == step), None)
    return None
