"""Start, roll back, retry, pause, resume, cancel: each changes the journal and queues the work."""

from typing import Any

from django.contrib.auth import get_user_model

from rollout import gates, queue
from rollout.engine.shared_connections import shared_connections
from rollout.gates import Evidence, GateStatus, sql_files
from rollout.gates.starts import STOPPED, refusal_to_roll_back, refusal_to_start, unfinished_repair
from rollout.journal import activity_log, scheduled_starts
from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.rollouts import (
    active_run,
    alone_with,
    is_busy,
    plan_of,
    refusal_beside_restore,
    refuse_out_of_reach,
)
from rollout.journal.transitions import move, paused_by
from rollout.models import (
    Direction,
    PhaseRun,
    RollbackChain,
    Rollout,
    RunState,
    ScheduledStart,
    ScheduleState,
    SignOff,
    SignOffKind,
)
from rollout.plan.gates import Approved
from rollout.plan.plan import Plan
from rollout.queries import other_plans, preflights
from rollout.runner.reasons import refuse_unread
from rollout.telemetry.baselines import inherited_baseline
from rollout.worker import leases, lost_triggers


@shared_connections()
def start(
    rollout: Rollout,
    phase: int,
    *,
    seen: str | None = None,
    due: ScheduledStart | None = None,
    actor: Actor,
    source: str = "web",
) -> PhaseRun:
    """Start a phase, or resume it if it failed or was cancelled.

    ``seen`` is the digest of the phase that the actor has read; None skips the check. ``due`` is
    the scheduled start that this makes, unless it was cancelled meanwhile. Raises Refused, and its
    subclass PhaseChanged if the phase has changed since.
    """
    refuse_out_of_reach(rollout)
    plan = plan_of(rollout)
    gates.invalidate()
    if 0 <= phase < len(plan.phases):
        refuse_unread(plan, phase, seen, "start it")
    _refuse_start(plan, rollout, phase, actor)
    # Before the lock: it may take seconds.
    preflight = preflights.preflight_of(rollout, phase)
    if preflight.refusal:
        raise Refused(preflight.refusal)
    with alone_with(rollout):
        # The lock that every other verb takes too: a rollback that was pressed first is seen here.
        if due is not None and not scheduled_starts.end_wait(due, ScheduleState.STARTED):
            raise Refused("The scheduled start was cancelled.")
        newest, statuses = _refuse_start(plan, rollout, phase, actor)
        return _begin(
            *(rollout, plan, phase, Direction.FORWARD, newest, actor, source),
            preflight=preflights.as_data(preflight),
            gates=[gates.as_data(status) for status in statuses],
        )


def _use_sign_offs(run: PhaseRun) -> None:
    """An approval or override is for one start."""
    SignOff.objects.filter(
        rollout=run.rollout,
        phase=run.phase,
        kind__in=(SignOffKind.APPROVAL, SignOffKind.OVERRIDE),
        run=None,
    ).update(run=run)


def _refuse_start(
    plan: Plan, rollout: Rollout, phase: int, actor: Actor
) -> tuple[PhaseRun | None, list[GateStatus]]:
    """The newest run of a phase that may start, and what its gates answer. Raises Refused."""
    evidence = Evidence(rollout, phase, plan=plan, starter=actor)
    statuses = list(gates.check_gates(evidence)) if 0 <= phase < len(plan.phases) else []
    reason = refusal_to_start(evidence, active_run(rollout), statuses)
    if reason:
        raise Refused(reason)
    return evidence.run, statuses


@shared_connections()
def roll_back(
    rollout: Rollout,
    phase: int,
    *,
    seen: str | None = None,
    chain: RollbackChain | None = None,
    actor: Actor,
    source: str = "web",
) -> PhaseRun:
    """Start the rollback of a phase, or resume it if it stopped.

    ``seen`` is the digest of the phase that the actor has read; None skips the check. ``chain`` is
    the rollback of several phases that it is part of. Raises Refused, and its subclass PhaseChanged
    if the phase has changed since.
    """
    refuse_out_of_reach(rollout)
    plan = plan_of(rollout)
    if 0 <= phase < len(plan.phases):
        refuse_unread(plan, phase, seen, "roll it back")
    with alone_with(rollout):
        evidence = Evidence(rollout, phase, plan=plan)
        reason = refusal_to_roll_back(evidence, active_run(rollout), chain)
        reason = reason or sql_files.edited_message(rollout, plan, [phase])
        reason = reason or other_plans.refusal_to_roll_back(plan, rollout.environment)
        if reason:
            raise Refused(reason)
        more = chain.log_data() if chain is not None else {}
        run = _begin(
            rollout, plan, phase, Direction.BACKWARD, evidence.run, actor, source, chain, **more
        )
        run.chain = chain
        run.save(update_fields=["chain"])
        return run


def _begin(
    rollout: Rollout,
    plan: Plan,
    phase: int,
    direction: Direction,
    newest: PhaseRun | None,
    actor: Actor,
    source: str,
    chain: RollbackChain | None = None,
    **more: Any,
) -> PhaseRun:
    if newest is not None and newest.direction == direction and newest.state != RunState.DONE:
        return _go_on(rollout, newest, actor, source, **more)
    run = PhaseRun.objects.create(
        rollout=rollout,
        phase=phase,
        direction=direction,
        actor=actor if isinstance(actor, get_user_model()) else None,
        actor_name=actor.get_username(),
        plan_digest=plan.digest,
        lease_until=leases.grace(),
        baseline=inherited_baseline(rollout),
    )
    if direction == Direction.FORWARD:
        _use_sign_offs(run)
    event, verb = (
        (Event.PHASE_STARTED, "Started")
        if direction == Direction.FORWARD
        else (Event.ROLLBACK_STARTED, "Started the rollback of")
    )
    activity_log.record(
        event,
        f"{verb} phase {phase}{f', part of the {chain.name}' if chain is not None else ''}.",
        on=run,
        actor=run.actor_name,
        source=source,
        plan_digest=plan.digest,
        **more,
    )
    scheduled_starts.overtake(run, actor=actor, source=source)
    queue.send_work(run)
    return run


def stopped_run(rollout: Rollout, wanted: PhaseRun | None = None) -> PhaseRun | None:
    """The run that can be retried: the newest, a repair's or a phase's, or the one wanted."""
    runs, repair = gates.newest_runs_and_repair(rollout)
    phase = max(runs.values(), key=lambda run: run.pk, default=None)
    stopped = [
        run
        for run in (unfinished_repair(runs, repair), phase)
        if run is not None and run.state in STOPPED
    ]
    if wanted is not None:
        stopped = [run for run in stopped if run.pk == wanted.pk]
    return max(stopped, key=lambda run: run.pk, default=None)


def _refusal_to_retry(run: PhaseRun) -> str:
    """Why a named run cannot be retried."""
    if run.state not in STOPPED:
        return (
            f"{run.title} is {run.get_state_display().lower()}: there is nothing to "
            "retry. Reload the page."
        )
    if run.direction == Direction.REPAIR:
        return f"The {run.name} is out of date: a phase has run since. Start a new repair."
    return f"{run.title} is no longer the newest run. Reload the page."


@shared_connections()
def retry(
    rollout: Rollout, *, run: PhaseRun | None = None, actor: Actor, source: str = "web"
) -> PhaseRun:
    """Resume the run that failed or was cancelled, at the step that did not end.

    The preflight of a phase runs again. ``run`` says which run, if a repair stopped after a phase
    did. Raises Refused.
    """
    refuse_out_of_reach(rollout)
    wanted = stopped_run(rollout, run)
    if wanted is None and run is not None and active_run(rollout) is None:
        raise Refused(_refusal_to_retry(run))
    more: dict[str, object] = {}
    if wanted is not None and wanted.direction == Direction.FORWARD and active_run(rollout) is None:
        _have_lost_triggers_made(rollout, wanted)
        preflight = preflights.preflight_of(rollout, wanted.phase)
        if preflight.refusal:
            raise Refused(preflight.refusal)
        more["preflight"] = preflights.as_data(preflight)
    with alone_with(rollout):
        return _go_on(rollout, wanted, actor, source, **more)


def _have_lost_triggers_made(rollout: Rollout, run: PhaseRun) -> None:
    plan = plan_of(rollout)
    with target_of(rollout.environment).connect() as connection:
        lost = lost_triggers.find_lost(connection, run, plan)
    if lost:
        lost_triggers.do_again(run, plan, lost)


def _go_on(
    rollout: Rollout, run: PhaseRun | None, actor: Actor, source: str, **more: Any
) -> PhaseRun:
    busy = active_run(rollout)
    if busy is not None:
        raise Refused(is_busy(busy))
    if reason := refusal_beside_restore(rollout):
        raise Refused(reason)
    run = stopped_run(rollout, run) if run is not None else None
    if run is None:
        raise Refused(
            "No run failed or was cancelled: there is nothing to retry. Start a phase first."
        )
    plan = plan_of(rollout)
    if edited := sql_files.edited_message(rollout, plan, [run.phase]):
        raise Refused(edited)
    digest, former_digest = plan.digest, run.plan_digest
    if digest != former_digest and run.direction == Direction.FORWARD:
        _refuse_unapproved(rollout, run, actor)
    moved = move(
        run,
        RunState.QUEUED,
        error="",
        advice="",
        lease_until=leases.grace(),
        plan_digest=digest,
    )
    if not moved:
        raise Refused("The run's state has just changed. Reload the page.")
    if digest != former_digest:
        # The plan has changed: every step asks the catalog again what is applied.
        run.steps.all().delete()
    if run.direction == Direction.FORWARD:
        _use_sign_offs(run)
    activity_log.record(
        Event.RETRIED, f"Retried {run.name}.", on=run, actor=actor, source=source, **more
    )
    scheduled_starts.overtake(run, actor=actor, source=source)
    queue.send_work(run)
    return run


def _refuse_unapproved(rollout: Rollout, run: PhaseRun, actor: Actor) -> None:
    """A run whose plan has changed needs a new approval, if its phase needs one. Raises Refused."""
    evidence = Evidence(rollout, run.phase, starter=actor)
    for gate in evidence.gates:
        if (
            isinstance(gate, Approved)
            and not (given := gates.check_gate(gate, evidence)).lets_through
        ):
            raise Refused(
                f"The plan changed since phase {run.phase} started. Gate “{given.label}”: "
                f"{given.message}"
            )


def pause(rollout: Rollout, *, actor: Actor, source: str = "web") -> PhaseRun:
    """Ask the running phase to stop at its next safe point. Raises Refused."""
    with alone_with(rollout):
        run = active_run(rollout)
        if run is None:
            raise Refused("Nothing is running: there is nothing to pause. Start a phase first.")
        # A run that no worker has begun with is paused here and now; one may begin meanwhile.
        waits, pause = run.state == RunState.QUEUED, paused_by(actor.get_username())
        if not (waits and move(run, RunState.PAUSED, pause=pause)) and not move(
            run, RunState.PAUSING, pause=pause
        ):
            run.refresh_from_db()
            raise Refused(f"Cannot pause now: {is_busy(run)}")
        entries = [(Event.PAUSE_ASKED_FOR, f"Requested a pause of {run.name}.")]
        if run.state == RunState.PAUSED:
            entries.append((Event.PAUSED, f"{run.title} is paused."))
        for event, message in entries:
            activity_log.record(event, message, on=run, actor=actor, source=source)
    return run


def resume(rollout: Rollout, *, actor: Actor, source: str = "web") -> PhaseRun:
    """Resume a paused phase. Raises Refused."""
    refuse_out_of_reach(rollout)
    with alone_with(rollout):
        run = active_run(rollout)
        if run is None:
            raise Refused("Nothing is paused: there is nothing to resume. Start or retry a phase.")
        if run.state != RunState.PAUSED or not move(
            run, RunState.QUEUED, lease_until=leases.grace()
        ):
            raise Refused(f"Only a paused phase can be resumed: {is_busy(run)}")
        activity_log.record(
            Event.RESUMED, f"Resumed {run.name}.", on=run, actor=actor, source=source
        )
        queue.send_work(run)
    return run


def cancel(rollout: Rollout, *, actor: Actor, source: str = "web") -> PhaseRun:
    """Stop the active phase for good; it can be retried or rolled back then. Raises Refused."""
    with alone_with(rollout):
        run = active_run(rollout)
        if run is None:
            raise Refused("Nothing is running: there is nothing to cancel. Start a phase first.")
        # A run that no worker holds is cancelled here and now; its queued message is void.
        waits = run.state in (RunState.QUEUED, RunState.PAUSED)
        if not (waits and move(run, RunState.CANCELLED)) and not move(run, RunState.CANCELLING):
            run.refresh_from_db()
            raise Refused(f"Cannot cancel now: {is_busy(run)}")
        entries = [(Event.CANCEL_ASKED_FOR, f"Requested cancellation of {run.name}.")]
        if run.state == RunState.CANCELLED:
            entries.append((Event.CANCELLED, f"{run.title} is cancelled."))
        for event, message in entries:
            activity_log.record(event, message, on=run, actor=actor, source=source)
    return run
