"""The gate about SQL files that were edited after they were applied."""

from collections.abc import Collection

from rollout.gates.evidence import Evidence
from rollout.gates.phase_states import started_phases
from rollout.gates.registry import GateResult, check, failed, passed
from rollout.models import Direction, Rollout, StepRun, StepState
from rollout.plan.gates import FilesUnchanged
from rollout.plan.plan import Plan


def edited_steps(rollout: Rollout, plan: Plan, phases: Collection[int]) -> list[StepRun]:
    """The newest run of each step whose SQL file was changed or removed since it was applied."""
    if not plan.has_files:
        return []
    rows = (
        StepRun.objects.filter(
            run__rollout=rollout,
            run__phase__in=phases,
            run__direction=Direction.FORWARD,
            state=StepState.DONE,
        )
        .exclude(checksum="")
        .select_related("run")
        .order_by("run_id")
    )
    newest = {(row.run.phase, row.step): row for row in rows}
    return [row for at, row in newest.items() if row.checksum != plan.checksum_of(*at)]


def edited_message(rollout: Rollout, plan: Plan, phases: Collection[int]) -> str:
    """Which files were edited, and what to do about it; empty if none was."""
    steps = edited_steps(rollout, plan, phases)
    if not steps:
        return ""
    names = ", ".join(f"{row.step} of phase {row.run.phase}" for row in steps)
    return (
        f"The SQL files of {names} were edited after they were applied. Restore them and put the "
        "change in a new file; or, if the database is right as it is, accept the edit: "
        f"manage.py rollout accept-files {plan.name}"
    )


@check(FilesUnchanged)
def files_unchanged(gate: FilesUnchanged, evidence: Evidence) -> GateResult:
    problem = edited_message(evidence.rollout, evidence.plan, started_phases(evidence.runs))
    if problem:
        return failed("accept_files", problem)
    return passed("No SQL file was edited after it was applied.")
