"""The shell's verb for the sessions that a phase waits for."""

from rollout import runner
from rollout.engine.blockers import How
from rollout.engine.statement_activities import StatementActivity
from rollout.management.actors import ShellActor
from rollout.management.verbs import AddVerb, Output
from rollout.models import Rollout
from rollout.runner.blockers import BlockedStep


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "blockers",
        blockers,
        "List or terminate the sessions that block a phase.",
        example="blockers order-states --cancel 4711",
        as_json=True,
    )
    form = sub.add_mutually_exclusive_group()
    form.add_argument("--cancel", type=int, metavar="PID", help="cancel this session's query")
    form.add_argument("--end", type=int, metavar="PID", help="terminate this session")


def blockers(
    out: Output, rollout: Rollout, as_json: bool, cancel: int | None, end: int | None
) -> int:
    """List the sessions that block the running statement, or cancel or terminate one."""
    blocked = runner.blocked_step(rollout)
    if cancel is not None:
        return out.say(_ended(rollout, blocked, cancel, "cancel"))
    if end is not None:
        return out.say(_ended(rollout, blocked, end, "end"))
    if as_json:
        return out.say_json(blocked.activity.as_data() if blocked else None)
    if blocked is None:
        return out.say("No step is blocked.")
    return out.say("\n".join(_lines(blocked.step_run.step, blocked.activity)))


def _ended(rollout: Rollout, blocked: BlockedStep | None, pid: int, how: How) -> str:
    """Cancel the query of a blocking session, or terminate it; the outcome. Raises Refused."""
    began_at = next(
        (blocker.began_at for blocker in blocked.activity.blockers if blocker.pid == pid)
        if blocked
        else iter(()),
        "",
    )
    return runner.end_blocker(
        rollout, pid, began_at=began_at, how=how, actor=ShellActor(), source="shell"
    )


def _lines(step: str, activity: StatementActivity) -> list[str]:
    lines = [
        f"Step {step} waits for {activity}." if str(activity) else f"Step {step} is not blocked."
    ]
    if activity.progress is not None:
        lines.append(f"  {activity.progress}")
    for blocker in activity.blockers:
        lines.append(f"  {blocker}")
        lines += [f"    holds {lock}" for lock in blocker.locks]
    return lines
