"""Rollbacks of several phases at once: a person starts the first, the rest follow one by one."""

from django.contrib.auth import get_user_model
from django.db import DatabaseError

from rollout import gates
from rollout.journal import activity_log
from rollout.journal.actors import Absent, Actor, Refused
from rollout.journal.environments import home_of
from rollout.journal.events import Event
from rollout.journal.rollouts import active_run, alone_with, plan_of
from rollout.journal.transitions import move
from rollout.models import ChainState, PhaseRun, RollbackChain, Rollout, RunState
from rollout.permissions import allowed_in
from rollout.plan.plan import Plan
from rollout.runner.phases import roll_back
from rollout.runner.reasons import UNKNOWN_READ, PhaseChanged


def seen_of(plan: Plan, first_phase: int | None) -> str:
    """What a person has read who confirms a rollback: the plan, and the newest phase."""
    return f"{plan.digest}:{first_phase}"


def roll_back_to(
    rollout: Rollout, to_phase: int, *, seen: str | None = None, actor: Actor, source: str = "web"
) -> PhaseRun:
    """Roll back every phase after ``to_phase``, the newest first: the run of that one.

    With -1 no phase stays. ``seen`` is what the actor has read, by ``seen_of`` or as the plan's
    digest alone; None skips the check. Raises Refused, and its subclass PhaseChanged if the phases
    have changed since.
    """
    plan = plan_of(rollout)
    with alone_with(rollout):
        phases = gates.started_after(gates.newest_runs(rollout), to_phase)
        first = phases[0] if phases else to_phase + 1
        if seen is not None and seen not in (plan.digest, seen_of(plan, first)):
            reason = "The phases to roll back have changed since you read them."
            raise PhaseChanged(f"{reason if seen else UNKNOWN_READ} Review them again.")
        chain = None
        if len(phases) > 1 and _running(rollout) is None:
            chain = RollbackChain.objects.create(
                rollout=rollout,
                first_phase=first,
                to_phase=to_phase,
                actor=actor if isinstance(actor, get_user_model()) else None,
                actor_name=actor.get_username(),
                plan_digest=plan.digest,
            )
            _record(chain, Event.CHAIN_STARTED, "started.", actor.get_username(), source)
        return roll_back(rollout, first, chain=chain, actor=actor, source=source)


def cancel_chain(rollout: Rollout, *, actor: Actor, source: str = "web") -> RollbackChain:
    """Start no further rollback once the one that runs is done. Raises Refused."""
    with alone_with(rollout):
        chain = _running(rollout)
        if chain is None or not move(chain, ChainState.CANCELLED):
            raise Refused("No rollback of several phases is running. Reload the page.")
        _record(
            chain,
            Event.CHAIN_CANCELLED,
            "cancelled: no further phase is rolled back.",
            actor.get_username(),
            source,
        )
    return chain


def continue_after(run_id: int) -> None:
    """Continue the chain that a run is part of, if it has just ended. For a worker."""
    chain = RollbackChain.objects.filter(state=ChainState.RUNNING, runs=run_id).first()
    if chain is not None:
        continue_chain(chain, source="worker")


def continue_chain(chain: RollbackChain, *, source: str) -> None:
    """Start the next rollback of a chain, or end it. Does nothing while a run is active.

    The second caller finds the work done.
    """
    rollout = chain.rollout
    if active_run(rollout) is not None:
        return
    with alone_with(rollout):
        chain.refresh_from_db()
        if chain.state != ChainState.RUNNING or active_run(rollout) is not None:
            return
        try:
            is_done = _start_next(chain, source)
        except DatabaseError:
            # The journal is away: the watchdog tries again.
            raise
        except Exception as refusal:
            reason = str(refusal).strip()
            move(chain, ChainState.STOPPED, stop_reason=reason)
            _record(chain, Event.CHAIN_STOPPED, f"stopped. {reason}", chain.actor_name, source)
        else:
            if is_done and move(chain, ChainState.DONE):
                _record(chain, Event.CHAIN_DONE, "is done.", chain.actor_name, source)


def _start_next(chain: RollbackChain, source: str) -> bool:
    """Whether nothing is left to roll back; else the next rollback is started. Raises Refused."""
    rollout, runs = chain.rollout, gates.newest_runs(chain.rollout)
    newest = max(runs.values(), key=lambda run: run.pk)
    if newest.chain_id != chain.pk:
        raise Refused(f"{newest.title} has run since. Review the phases, then roll back again.")
    if newest.state == RunState.FAILED:
        raise Refused(f"The {newest.name} failed. Fix the reported problem, then roll back again.")
    if newest.state != RunState.DONE:
        name = activity_log.last_actor(Event.CANCEL_ASKED_FOR, rollout=rollout, run=newest.pk)
        raise Refused(f"{name} cancelled the {newest.name}.")
    phases = gates.started_after(runs, chain.to_phase)
    if not phases:
        return True
    if plan_of(rollout).digest != chain.plan_digest:
        raise Refused("The plan changed after the rollback was confirmed. Review it again.")
    actor = chain.actor
    if actor is not None and not (
        actor.is_active and allowed_in(actor, "roll_back_rollout", home_of(rollout.environment))
    ):
        raise Refused(
            f"{chain.actor_name} no longer has permission to roll back phases. Another lead must "
            "continue."
        )
    roll_back(
        rollout, phases[0], chain=chain, actor=actor or Absent(chain.actor_name), source=source
    )
    return False


def _running(rollout: Rollout) -> RollbackChain | None:
    return RollbackChain.objects.filter(rollout=rollout, state=ChainState.RUNNING).first()


def _record(chain: RollbackChain, event: Event, end: str, actor: str, source: str) -> None:
    activity_log.record(event, f"{chain.title} {end}", on=chain, actor=actor, source=source)
