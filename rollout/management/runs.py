"""The shell's verbs for runs of phases: start, roll back, pause, resume, cancel, retry."""

from collections.abc import Callable
from functools import partial
from typing import Any

from rollout import runner
from rollout.journal.actors import Actor
from rollout.journal.rollouts import no_phase
from rollout.journal.scheduled_starts import overtaken_by
from rollout.management.actors import actor_of, add_user
from rollout.management.approvals import add_digest
from rollout.management.verbs import (
    DONE,
    NO,
    UNTIL_FINISHED,
    AddVerb,
    Output,
    names_of,
    wait_while,
)
from rollout.models import ChainState, PhaseRun, Rollout, RunState
from rollout.queries import pauses, reruns


def add_verbs(add: AddVerb) -> None:
    by_hand = add(
        "recognise",
        recognise,
        "Record a manual rollback of a phase, where the database shows it.",
        example="recognise order-states 3",
    )
    by_hand.add_argument("phase", type=int, help="the phase that was rolled back by hand")
    adopted = add(
        "adopt",
        adopt,
        "Record phases as done in a database that has their schema already.",
        example="adopt order-states --phase 4",
    )
    adopted.add_argument(
        "--phase", type=int, required=True, help="the last phase whose schema the database has"
    )
    starts = add(
        "start",
        start,
        "Start a phase. Its gates and its preflight must pass.",
        example="start order-states 1 --wait",
        no="the phase did not finish",
        as_json=True,
        waits=UNTIL_FINISHED,
    )
    add_digest(starts)
    starts.add_argument("phase", type=int, help="the phase, 0 to 4")
    backs = add(
        "rollback",
        roll_back,
        "Roll a phase back, or every phase after another, the newest first.",
        example="rollback order-states 3 --wait",
        no="a rollback did not finish",
        as_json=True,
        waits=UNTIL_FINISHED,
    )
    which = backs.add_mutually_exclusive_group(required=True)
    which.add_argument("phase", type=int, nargs="?", help="the newest phase that has started")
    which.add_argument(
        "--to", type=int, metavar="N", help="roll back every phase after N; -1 for all of them"
    )
    add_digest(backs, more="; with --to, the plan version")
    changes = [
        add(
            name,
            partial(_carry_on, verb, permission, goal),
            text,
            example=f"{name} order-states --wait",
            no=f"the run did not come to the state {goal}",
            as_json=True,
            waits=f"wait until the run is {goal}, or has ended",
        )
        for name, verb, permission, goal, text in (
            ("pause", runner.pause, "pause_rollout", RunState.PAUSED, "Pause the active run."),
            ("resume", runner.resume, "pause_rollout", RunState.DONE, "Resume the paused run."),
            (
                "cancel",
                runner.cancel,
                "start_rollout",
                RunState.CANCELLED,
                "Cancel the active run. Its finished steps stay; retry it, or roll the phase back.",
            ),
            (
                "retry",
                runner.retry,
                "start_rollout",
                RunState.DONE,
                "Continue a run that failed or was cancelled, at its unfinished step.",
            ),
        )
    ]
    for sub in (by_hand, adopted, starts, backs, *changes):
        add_user(sub)
    again = add(
        "verify",
        verify,
        "Verify that running a finished phase again would change nothing. Writes nothing.",
        example="verify order-states 2",
        no="a step would change something",
        as_json=True,
    )
    again.add_argument("phase", type=int, help="a finished phase")


def recognise(out: Output, rollout: Rollout, phase: int, user: str | None) -> int:
    if phase not in range(5):
        return out.complain(no_phase(phase))
    actor = actor_of(user, "roll_back_rollout", rollout.environment)
    for run in runner.recognise(rollout, phase, actor=actor):
        out.say(f"Phase {run.phase} is recorded as rolled back. {overtaken_by(run)}".strip())
    return DONE


def adopt(out: Output, rollout: Rollout, phase: int, user: str | None) -> int:
    if phase not in range(5):
        return out.complain(no_phase(phase))
    actor = actor_of(user, "start_rollout", rollout.environment)
    for run in runner.adopt(rollout, phase, actor=actor):
        out.say(f"Phase {run.phase} is recorded as done. {overtaken_by(run)}".strip())
    return DONE


def start(
    out: Output,
    rollout: Rollout,
    phase: int,
    wait: bool,
    user: str | None,
    digest: str | None,
    as_json: bool,
) -> int:
    actor = actor_of(user, "start_rollout", rollout.environment)
    return _begin(out, partial(runner.start, seen=digest), rollout, phase, wait, as_json, actor)


def roll_back(
    out: Output,
    rollout: Rollout,
    phase: int | None,
    to: int | None,
    wait: bool,
    user: str | None,
    digest: str | None,
    as_json: bool,
) -> int:
    actor = actor_of(user, "roll_back_rollout", rollout.environment)
    if to is None:
        assert phase is not None
        verb = partial(runner.roll_back, seen=digest)
        return _begin(out, verb, rollout, phase, wait, as_json, actor)
    if to not in range(-1, 4):
        return out.complain(no_phase(to + 1))
    verb = partial(_roll_back_after, seen=digest)
    return _begin(out, verb, rollout, to + 1, wait, as_json, actor)


def _roll_back_after(rollout: Rollout, last: int, **words: Any) -> PhaseRun:
    return runner.roll_back_to(rollout, last - 1, **words)


def _begin(
    out: Output,
    verb: Callable[..., PhaseRun],
    rollout: Rollout,
    phase: int,
    wait: bool,
    as_json: bool,
    actor: Actor,
) -> int:
    if phase not in range(5):
        return out.complain(no_phase(phase))
    run = verb(rollout, phase, actor=actor, source="shell")
    if not as_json and (ended := overtaken_by(run)):
        out.say(ended)
    if wait:
        return say_end(out, run, RunState.DONE, as_json)
    if as_json:
        return out.say_json(of_run(run))
    return out.say(f"Queued. Follow progress: manage.py rollout show {rollout.plan}")


def _carry_on(
    verb: Callable[..., PhaseRun],
    permission: str,
    goal: RunState,
    out: Output,
    rollout: Rollout,
    user: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    actor = actor_of(user, permission, rollout.environment)
    run = verb(rollout, actor=actor, source="shell")
    if not as_json and (ended := overtaken_by(run)):
        out.say(ended)
    if wait:
        return say_end(out, run, goal, as_json)
    return out.say_json(of_run(run)) if as_json else out.say(f"{run.title} is {run.state}.")


def say_end(out: Output, run: PhaseRun, goal: RunState, as_json: bool) -> int:
    """Wait for a run, and for the rollbacks that follow it: good if it comes to its goal."""
    chain = run.chain
    if chain is not None and chain.state != ChainState.RUNNING:
        # A retry continues one run of it, and no other rollback follows.
        chain = None
    wait_while(lambda: run.active and run.state != RunState.PAUSED, run, out)
    if chain is not None:
        paused = chain.runs.filter(state=RunState.PAUSED)
        wait_while(lambda: chain.state == ChainState.RUNNING and not paused.exists(), chain, out)
        run = chain.runs.latest("pk")
    is_good = run.state == goal and (
        chain is None or goal != RunState.DONE or chain.state == ChainState.DONE
    )
    if as_json:
        return out.say_json(of_run(run), good=is_good)
    if chain is not None:
        out.say(f"{chain.title}: {chain.state}. {chain.stop_reason}".strip())
    out.say(f"Phase {run.phase} {run.direction}: {run.state}. {run.error}".strip())
    if pause := pauses.pause_of(run):
        out.complain(pauses.as_text(pause))
    if run.error:
        out.complain(run.advice)
    return DONE if is_good else NO


def of_run(run: PhaseRun) -> dict[str, Any]:
    """A run for ``--json``."""
    return {
        "run": run.pk,
        **names_of(run.rollout),
        "phase": run.phase,
        "direction": run.direction,
        "state": run.state,
        "error": run.error,
        "advice": run.advice,
        "rollback_chain": run.chain and run.chain.state,
    }


def verify(out: Output, rollout: Rollout, phase: int, as_json: bool) -> int:
    """Whether a second run of a phase would change anything."""
    rerun = reruns.verify(rollout, phase)
    if as_json:
        data = {**names_of(rollout), **reruns.as_data(rerun)}
        return out.say_json(data, good=rerun.changes_nothing)
    lines = [f"{step.state:<8} {step.step.id}: {step.message}" for step in rerun.steps]
    return out.say("\n".join([*lines, rerun.verdict]), good=rerun.changes_nothing)
