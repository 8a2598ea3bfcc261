"""The gate about schema drift, and the live schema that it compares."""

from rollout.engine import catalog
from rollout.gates.cached_queries import cached_query
from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import steps_done
from rollout.gates.registry import GateResult, check, failed, passed, unknown
from rollout.logs.texts import counted, listed
from rollout.models import PhaseRun, Rollout
from rollout.plan.catalog import Catalog
from rollout.plan.gates import NoDrift
from rollout.plan.plan import Plan

MAX_SHOWN = 3


def live_schema(
    rollout: Rollout, plan: Plan, number: int, run: PhaseRun | None, steps_done: int | None = None
) -> Catalog | str:
    """The schema of seconds ago, or why it is not known.

    It is read again as soon as the phase ``number`` continues with ``run``.
    """
    schema = cached_query(
        rollout,
        *("schema", rollout.pk, plan.digest, number, steps_done),
        *((run.pk, run.state) if run else ()),
        query=lambda connection: catalog.read(connection, catalog.labels_of(plan)),
    )
    return f"The live schema could not be read: {schema}" if isinstance(schema, str) else schema


def check_schema(
    rollout: Rollout, plan: Plan, number: int, run: PhaseRun | None, *, steps_done: int | None
) -> GateResult:
    """Whether the schema is what the plan expects before a phase."""
    schema = live_schema(rollout, plan, number, run, steps_done)
    if isinstance(schema, str):
        return unknown("check_database", schema)
    drifts = catalog.compare(plan, phases_done=number, live=schema, steps_done=steps_done)
    if not drifts:
        return passed(
            f"{counted(len(schema.tables), 'table', 'match')} the plan before phase {number}."
        )
    named = listed([*map(str, drifts)], MAX_SHOWN)
    return failed("check_schema", f"Schema drift: {named}. Review the Schema page.")


@check(NoDrift)
def no_drift(gate: NoDrift, evidence: Evidence) -> GateResult:
    return check_schema(
        evidence.rollout,
        evidence.plan,
        evidence.number,
        evidence.run,
        steps_done=steps_done(evidence.plan, evidence.run),
    )
