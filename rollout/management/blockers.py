"""The shell's verb for the sessions that a phase waits for."""

from rollout import runner
from rollout.engine.blockers import How
from rollout.engine.statement_activities import StatementActivity
from rollout.management.actors import ShellActor
from rollout.management.verbs import AddVerb, Output
from rollout.models import Rollout
from rollout.runner.blockers import Held


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
    held = runner.held_up(rollout)
    if cancel is not None:
        return out.say(_ended(rollout, held, cancel, "cancel"))
    if end is not None:
        return out.say(_ended(rollout, held, end, "end"))
    if as_json:
        return out.say_json(held.standing.as_data() if held else None)
    if held is None:
        return out.say("No step is blocked.")
    return out.say("\n".join(_lines(held.step_run.step, held.standing)))


def _ended(rollout: Rollout, held: Held | None, pid: int, how: How) -> str:
    """Cancel the query of a blocking session, or terminate it; the outcome. Raises Refused."""
    began_at = next(
        (blocker.began_at for blocker in held.standing.blockers if blocker.pid == pid)
        if held
        else iter(()),
        "",
    )
    return runner.end_blocker(
        rollout, pid, began_at=began_at, how=how, actor=ShellActor(), source="shell"
    )


def _lines(step: str, standing: StatementActivity) -> list[str]:
    lines = [
        f"Step {step} waits for {standing}." if str(standing) else f"Step {step} is not blocked."
    ]
    if standing.progress is not None:
        lines.append(f"  {standing.progress}")
    for blocker in standing.blockers:
        lines.append(f"  {blocker}")
        lines += [f"    holds {lock}" for lock in blocker.locks]
    return lines
