"""Rollouts, phases, audits and live schemas as text and JSON for the shell."""

from typing import Any

from rollout.engine.catalog import Drift
from rollout.gates.checklists import types_of
from rollout.gates.registry import as_data
from rollout.journal.moments import in_zone
from rollout.models import AuditMode, AuditReport, Rollout
from rollout.plan.plan import Plan
from rollout.plan.psql_scripts import forward_script, rollback_script
from rollout.queries import pauses
from rollout.queries.pauses import pause_of
from rollout.queries.sample_bounds import statement_of
from rollout.queries.schema_diffs import differences, schema_of
from rollout.queries.status import PhaseStatus, RolloutStatus


def of_status(status: RolloutStatus) -> dict[str, Any]:
    """A rollout for ``show --json``."""
    return {
        "plan": status.plan.name,
        "environment": status.rollout.environment,
        "phase": status.phase,
        "phases": [
            {
                "number": phase.number,
                "name": phase.role,
                "state": phase.state,
                "destructive": phase.destructive,
                "restrictive": phase.restrictive,
                **({"pause": phase.run.pause} if pause_of(phase.run) and phase.run else {}),
                "gates": [as_data(gate) for gate in phase.gates],
            }
            for phase in status.phases
        ],
        # null while the environment's database is away.
        "read_mode": status.modes.read if status.modes else None,
        "write_mode": status.modes.write if status.modes else None,
    }


def as_text(status: RolloutStatus) -> str:
    """A rollout for people."""
    lines = [
        f"{status.plan.title} in {status.rollout.environment}",
        f"reads {status.modes.read}, writes {status.modes.write}"
        if status.modes
        else "Database unreachable: the application's read and write modes are unknown.",
        "",
    ]
    for phase in status.phases:
        rollback = (
            " (rollback)" if phase.direction == "backward" and phase.state != "pending" else ""
        )
        lines.append(f"  {phase.number} {phase.role:<9} {phase.state}{rollback}{_level(phase)}")
        for gate in phase.gates:
            lines.append(f"      {gate.status:<7} {gate.label}: {gate.message}")
            if gate.override is not None:
                second = gate.override.confirmed_by_name
                who = gate.override.actor_name + (f" and {second}" if second else "")
                lines.append(f"              overridden by {who}: {gate.override.reason}")
        if pause := pause_of(phase.run):
            lines.append(f"      {pauses.as_text(pause)}")
        if phase.run is not None and phase.run.error:
            lines += [f"      {phase.run.error}", f"      {phase.run.advice}"]
    for item in types_of(status.evidence):
        if item.status != "pass":
            lines += ["", item.message]
    if (start := status.rollout.start_to_come) is not None:
        at = in_zone(start.at, start.zone)
        lines += ["", f"{start.actor_name} scheduled phase {start.phase} for {at}."]
    if status.liveness.message:
        lines += ["", status.liveness.message]
    return "\n".join(lines)


def _level(phase: PhaseStatus) -> str:
    return ", destructive" if phase.destructive else ", restrictive" if phase.restrictive else ""


def of_audit(report: AuditReport) -> dict[str, Any]:
    """An audit for ``audit --json``; of a sample also what it proves."""
    of_sample = {
        "population": report.population,
        "seed": report.seed,
        "confidence": report.confidence,
        "upper_rate": report.upper_rate,
        "statement": statement_of(report),
    }
    return {
        "plan": report.rollout.plan,
        "environment": report.rollout.environment,
        "mode": report.mode,
        "rows": report.rows,
        "matched": report.matched,
        "mismatched": report.mismatched,
        "categories": report.categories,
        "conflicting_writes": report.conflicting_writes,
        "status": report.status,
        "mapping": report.mapping_digest,
        "mapping_values": report.mapping_values,
        "mapping_reviewed": report.mapping_reviewed,
        **(of_sample if report.mode == AuditMode.SAMPLED else {}),
    }


def sql_of(plan: Plan, number: int, *, rollback: bool) -> str:
    """The SQL of a phase in one direction, as a script for psql."""
    return (rollback_script if rollback else forward_script)(plan, number)


def introspect(rollout: Rollout) -> dict[str, Any]:
    """The live tables of a plan, and where they differ from what it expects in its phase."""
    schema = schema_of(rollout)
    return {
        "plan": schema.plan.name,
        "environment": rollout.environment,
        "phases_done": schema.phases_done,
        "tables": {
            table: {part.name: text for part, text in parts.items() if part.kind == "column"}
            for table, parts in schema.live.tables.items()
        },
        "drift": [of_drift(drift) for drift in schema.drifts],
    }


def not_introspected(rollout: Rollout, error: str) -> dict[str, Any]:
    """What stands in the place of an introspection that could not be made."""
    return {
        "plan": rollout.plan,
        "environment": rollout.environment,
        "error": error,
        "phases_done": None,
        "tables": {},
        "drift": [],
    }


def introspect_against(rollout: Rollout, other: Rollout) -> dict[str, Any]:
    """The live tables of a plan in one environment, and where another's differ from them."""
    here, there = (schema_of(r, in_full=True) for r in (rollout, other))
    return {
        **introspect(rollout),
        "against": other.environment,
        "drift": [of_drift(drift) for drift in differences(here, there)],
    }


def of_drift(drift: Drift) -> dict[str, str]:
    """A difference for ``introspect --json``; of what is no column, ``part`` says what it is."""
    is_column = drift.kind == "column"
    return {
        "table": drift.table,
        "column": drift.column if is_column else "",
        **({} if is_column else {"part": drift.part}),
        "expected": drift.expected,
        "found": drift.found,
    }


def introspection_as_text(data: dict[str, Any]) -> str:
    """An introspection for people."""
    if "error" in data:
        return f"{data['plan']} in {data['environment']}: {data['error']}"
    lines = [f"{data['plan']} in {data['environment']}, {data['phases_done']} phases done"]
    if "against" in data:
        lines[0] += f", against {data['against']}"
    for table, columns in data["tables"].items():
        lines.append(f"  {table}")
        lines += [f"    {name:<22} {column}" for name, column in columns.items()]
    for drift in data["drift"]:
        name = ".".join(part for part in (drift["table"], drift["column"]) if part)
        name = f"{name} {drift.get('part', '')}".strip()
        lines.append(f"  DRIFT {name}: expected {drift['expected']}, found {drift['found']}")
    if not data["drift"]:
        lines.append("  No drift.")
    return "\n".join(lines)
