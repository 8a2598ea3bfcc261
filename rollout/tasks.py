"""What workers are asked to do."""

from rollout import heartbeats
from rollout.runner import audits, execution, views


def advance(run_id: int, token: int) -> None:
    """Go on with a phase run for a slice of time."""
    execution.advance(run_id, token)


def audit(report_id: int, token: int) -> None:
    """Make an audit report that somebody asked for."""
    audits.carry_out(report_id, token)


def refresh_view(rollout_id: int, step_id: str) -> None:
    """Bring a materialized view up to date."""
    views.refresh(rollout_id, step_id)


def beat() -> None:
    """Show that tasks go through the queue and are carried out."""
    heartbeats.beat(heartbeats.WORKER)
