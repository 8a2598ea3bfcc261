"""Records a rollback that people did by hand, once the database confirms it."""

from rollout import gates
from rollout.engine import catalog
from rollout.engine.target import Connection, fetch_bool
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.recorded_runs import record_run
from rollout.journal.rollouts import active_run, alone_with, is_busy, plan_of
from rollout.journal.transitions import move
from rollout.logs.texts import counted, listed
from rollout.models import Direction, PhaseRun, Rollout, RunState
from rollout.plan import facts
from rollout.plan.actions import Fill, Statement
from rollout.plan.plan import Plan, Step
from rollout.plan.proofs import Proof
from rollout.worker.leases import is_leased, take_back

MAX_NAMED = 3


def recognise(
    rollout: Rollout, phase: int, *, actor: Actor, source: str = "shell"
) -> list[PhaseRun]:
    """Record that a phase, and every later one that was started, is rolled back.

    Raises Refused unless the target is as the plan expects before that phase and its rows pass the
    comparison that ends the phase's own rollback, and while a worker is active. A run that a
    crashed worker left is cancelled.

    A comparison with an archive cannot be repeated, since the rollback drops it: the log says so.
    """
    plan = plan_of(rollout)
    with target_of(rollout.environment).connect() as connection:
        remains = what_remains(connection, plan, phase)
    if remains:
        again = " It compares every row again." if _compares(plan, phase) else ""
        raise Refused(
            f"Phase {phase} is not fully rolled back: {listed(remains, MAX_NAMED)}. Run the "
            f"script again: manage.py rollout sql {plan.name} {phase} --rollback.{again}"
        )
    with alone_with(rollout):
        _end_what_is_left(rollout)
        runs = gates.newest_runs(rollout)
        begun = [n for n, run in runs.items() if n >= phase and not gates.is_not_started(run)]
        if not begun:
            raise Refused(f"Phase {phase} is already recorded as rolled back.")
        return [
            _record(rollout, plan, number, actor, source, asked=phase)
            for number in sorted(begun)[::-1]
        ]


def what_remains(connection: Connection, plan: Plan, phase: int) -> list[str]:
    """What a target still has of a phase or of a later one, a text each."""
    live = catalog.read(connection, catalog.labels_of(plan))
    remains = [str(drift) for drift in catalog.compare(plan, phases_done=phase, live=live)]
    if remains:
        return remains
    for step in plan.phases[phase].steps:
        for action in plan.backward(step).actions:
            if isinstance(action, Statement) and action.done is not None:
                if not fetch_bool(connection, action.done):
                    remains.append(f"step {step.id} is not rolled back")
            elif isinstance(action, Proof) and action.source is None:
                row = connection.execute(action.guarded.asks_differing).fetchone()
                if row and row[0]:
                    remains.append(
                        f"{counted(row[0], 'row')} of {action.table.label} "
                        f"{'differs' if row[0] == 1 else 'differ'} from what the legacy columns "
                        f"say (correct {'it' if row[0] == 1 else 'them'}): {row[1]}: {row[2]}"
                    )
            elif isinstance(action, Fill) and _can_be_asked(connection, action):
                row = connection.execute(action.unfilled(facts.TRUE)).fetchone()
                if row and row[0]:
                    remains.append(f"step {step.id} has {row[0]:,} rows to restore")
    return list(dict.fromkeys(remains))


def _can_be_asked(connection: Connection, fill: Fill) -> bool:
    return fill.source is None or fetch_bool(connection, facts.relation_exists(fill.source))


def _compares(plan: Plan, phase: int) -> bool:
    steps = plan.phases[phase].steps
    return any(isinstance(a, Proof) for step in steps for a in plan.backward(step).actions)


def _what_was_compared(plan: Plan, step: Step, *, newest: bool) -> str:
    """What is known of the rows that a step's rollback compares; empty if it compares none.

    ``newest``: no earlier phase is rolled back with it, so the new columns still exist.
    """
    of_step = [a for a in plan.backward(step).actions if isinstance(a, Proof)]
    if newest and any(proof.source is None for proof in of_step):
        return "Every row was compared: the legacy columns match the new ones."
    if of_step:
        return (
            "The console compared no rows, because the data to compare with is gone. The script's "
            "output says whether it compared them."
        )
    return ""


def _end_what_is_left(rollout: Rollout) -> None:
    run = active_run(rollout)
    if run is None:
        return
    if run.state != RunState.PAUSED and is_leased(run):
        raise Refused(f"A worker is still active: {is_busy(run)}")
    # Its worker's token is void from here on: what the queue still delivers is dropped.
    take_back(run)
    move(run, RunState.CANCELLING)
    move(run, RunState.CANCELLED, error="Rolled back by hand.")


def _record(
    rollout: Rollout, plan: Plan, phase: int, actor: Actor, source: str, *, asked: int
) -> PhaseRun:
    steps = plan.phases[phase].steps[::-1]
    compared = {step.id: _what_was_compared(plan, step, newest=phase == asked) for step in steps}
    # What is written is another than before: a clean audit from before then tells no more.
    run = record_run(
        rollout,
        phase,
        Direction.BACKWARD,
        steps=steps,
        result=lambda step: f"Rolled back by hand. {compared[step.id]}".strip(),
        actor_name=actor.get_username(),
        source=source,
        plan_digest=plan.digest,
    )
    confirmed = f"{run.title} was done by hand, and the database confirms it."
    activity_log.record(
        Event.ROLLED_BACK_BY_HAND,
        " ".join([confirmed, *dict.fromkeys(filter(None, compared.values()))]),
        on=run,
        actor=run.actor_name,
        source=source,
        plan_digest=plan.digest,
    )
    return run
