"""The shell's verbs for runs of phases: start, roll back, pause, resume, cancel, retry."""

from collections.abc import Callable
from functools import partial

from rollout import runner
from rollout.journal.actors import Actor
from rollout.management.actors import actor_of, add_user
from rollout.management.approvals import add_digest
from rollout.management.verbs import DONE, NO, AddVerb, Output, names_of, no_phase, wait_while
from rollout.models import ChainState, PhaseRun, Rollout, RunState
from rollout.queries import pauses, reruns


def add_verbs(add: AddVerb) -> None:
    by_hand = add("recognise", recognise, "Record a manual rollback of a phase.")
    by_hand.add_argument("phase", type=int)
    starts = add("start", start, "Start a phase.")
    add_user(starts)
    add_digest(starts)
    starts.add_argument("phase", type=int)
    backs = add("rollback", roll_back, "Roll a phase back, or every phase after another.")
    which = backs.add_mutually_exclusive_group(required=True)
    which.add_argument("phase", type=int, nargs="?", help="the newest phase")
    which.add_argument("--to", type=int, help="the phase that stays; -1 for none")
    for sub in (starts, backs):
        sub.add_argument("--wait", action="store_true", help="wait until it finishes")
    changes = [
        add("pause", partial(_carry_on, runner.pause, "pause_rollout"), "Pause the active run."),
        add("resume", partial(_carry_on, runner.resume, "pause_rollout"), "Resume the paused run."),
        add("cancel", partial(_carry_on, runner.cancel, "start_rollout"), "Cancel the active run."),
        add("retry", partial(_carry_on, runner.retry, "start_rollout"), "Retry a run that failed."),
    ]
    for sub in (by_hand, backs, *changes):
        add_user(sub)
    again = add(
        "verify",
        verify,
        "Verify that running a finished phase again would change nothing.",
        as_json=True,
    )
    again.add_argument("phase", type=int)


def recognise(out: Output, rollout: Rollout, phase: int, user: str | None) -> int:
    if phase not in range(5):
        return out.complain(no_phase(phase))
    actor = actor_of(user, "roll_back_rollout", rollout.environment)
    for run in runner.recognise(rollout, phase, actor=actor):
        out.say(f"Phase {run.phase} is recorded as rolled back.")
    return DONE


def start(
    out: Output, rollout: Rollout, phase: int, wait: bool, user: str | None, digest: str | None
) -> int:
    actor = actor_of(user, "start_rollout", rollout.environment)
    return _begin(out, partial(runner.start, seen=digest), rollout, phase, wait, actor)


def roll_back(
    out: Output, rollout: Rollout, phase: int | None, to: int | None, wait: bool, user: str | None
) -> int:
    actor = actor_of(user, "roll_back_rollout", rollout.environment)
    if to is None:
        assert phase is not None
        return _begin(out, runner.roll_back, rollout, phase, wait, actor)
    if to not in range(-1, 4):
        return out.complain(no_phase(to + 1))
    return _begin(out, _roll_back_after, rollout, to + 1, wait, actor)


def _roll_back_after(rollout: Rollout, last: int, *, actor: Actor, source: str) -> PhaseRun:
    return runner.roll_back_to(rollout, last - 1, actor=actor, source=source)


def _begin(
    out: Output,
    verb: Callable[..., PhaseRun],
    rollout: Rollout,
    phase: int,
    wait: bool,
    actor: Actor,
) -> int:
    if phase not in range(5):
        return out.complain(no_phase(phase))
    run = verb(rollout, phase, actor=actor, source="shell")
    if not wait:
        return out.say(f"Queued. Follow progress: manage.py rollout show {rollout.plan}")
    wait_while(lambda: run.active and run.state != RunState.PAUSED, run, out)
    if (chain := run.chain) is not None:
        paused = chain.runs.filter(state=RunState.PAUSED)
        wait_while(lambda: chain.state == ChainState.RUNNING and not paused.exists(), chain, out)
        out.say(f"{chain.title}: {chain.state}. {chain.stop_reason}".strip())
        run = chain.runs.latest("pk")
    out.say(f"Phase {run.phase} {run.way}: {run.state}. {run.error}".strip())
    if pause := pauses.pause_of(run):
        out.complain(pauses.as_text(pause))
    if run.error:
        out.complain(run.advice)
    is_done = run.state == RunState.DONE and (chain is None or chain.state == ChainState.DONE)
    return DONE if is_done else NO


def _carry_on(
    verb: Callable[..., PhaseRun], permission: str, out: Output, rollout: Rollout, user: str | None
) -> int:
    actor = actor_of(user, permission, rollout.environment)
    run = verb(rollout, actor=actor, source="shell")
    return out.say(f"{run.title} is {run.state}.")


def verify(out: Output, rollout: Rollout, phase: int, as_json: bool) -> int:
    """Whether a second run of a phase would change anything."""
    rerun = reruns.verify(rollout, phase)
    if as_json:
        data = {**names_of(rollout), **reruns.as_data(rerun)}
        return out.say_json(data, good=rerun.changes_nothing)
    lines = [f"{step.answer:<8} {step.step.id}: {step.message}" for step in rerun.steps]
    return out.say("\n".join([*lines, rerun.verdict]), good=rerun.changes_nothing)
