"""The shell's verb for the sessions that a phase waits for."""

import json
from collections.abc import Callable
from typing import Any

from rollout import runner
from rollout.engine.blockers import How
from rollout.engine.statement_activities import Standing
from rollout.journal.actors import Actor
from rollout.models import Rollout


def add_verb(verb: Callable[..., Any]) -> None:
    """Add the verb to the command's parser."""
    sub = verb("blockers", "List who a phase waits for now, or end one of them.", as_json=True)
    form = sub.add_mutually_exclusive_group()
    form.add_argument("--cancel", type=int, metavar="PID", help="cancel that session's statement")
    form.add_argument("--end", type=int, metavar="PID", help="end that session")


def list_of(rollout: Rollout, *, as_json: bool) -> str:
    """Where the statement under way stands, and who is in its way."""
    held = runner.held_up(rollout)
    if as_json:
        return json.dumps(held.standing.as_data() if held else None, indent=2, ensure_ascii=False)
    if held is None:
        return "Nothing waits for another session now."
    return "\n".join(_lines(held.step_run.step, held.standing))


def end(rollout: Rollout, pid: int, how: How, actor: Actor) -> str:
    """Cancel or end a session that is in the way now; what came of it. Raises Refused."""
    held = runner.held_up(rollout)
    began_at = next(
        (one.began_at for one in held.standing.blockers if one.pid == pid) if held else iter(()), ""
    )
    return runner.end_blocker(rollout, pid, began_at=began_at, how=how, actor=actor, source="shell")


def _lines(step: str, standing: Standing) -> list[str]:
    lines = [f"Step {step} waits for {standing}." if str(standing) else f"Step {step} gets on."]
    if standing.progress is not None:
        lines.append(f"  {standing.progress}")
    for blocker in standing.blockers:
        lines.append(f"  {blocker}")
        lines += [f"    holds {lock}" for lock in blocker.locks]
    return lines
