"""Accepts SQL files that were edited after they were applied."""

from rollout import gates
from rollout.gates import sql_files
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.journal.rollouts import alone_with, plan_of
from rollout.models import Rollout, StepRun


def accept_files(rollout: Rollout, *, actor: Actor, source: str = "shell") -> list[StepRun]:
    """Accept every edited file, in the actor's name; the steps. Raises Refused."""
    plan = plan_of(rollout)
    with alone_with(rollout):
        steps = sql_files.edited_steps(
            rollout, plan, gates.started_phases(gates.newest_runs(rollout))
        )
        if not steps:
            raise Refused("No edited SQL files to accept.")
        for step in steps:
            was, step.checksum = step.checksum, plan.checksum_of(step.run.phase, step.step)
            step.save(update_fields=["checksum"])
            activity_log.record(
                Event.EDITED_FILE_ACCEPTED,
                f"Accepted the edited files of step {step.step}.",
                on=rollout,
                phase=step.run.phase,
                actor=actor,
                source=source,
                step=step.step,
                was=was,
                now=step.checksum,
            )
    return steps
