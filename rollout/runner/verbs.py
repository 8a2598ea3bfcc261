"""What people can do with a rollout. Each verb changes the journal and queues the work."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser

from rollout import editing, gates, journal, log, preflight, queue
from rollout.engine.target import TargetAway
from rollout.environments import target_of, why_gone
from rollout.events import Event
from rollout.gates import Evidence, GateStatus
from rollout.models import (
    ACTIVE,
    RESTORE_WORKING,
    AuditReport,
    AuditStatus,
    BackfillJob,
    PhaseRun,
    Restore,
    Rollout,
    RunState,
    SignOff,
    SignOffKind,
    Way,
)
from rollout.plan import plans
from rollout.plan.actions import Proof
from rollout.plan.gates import Approved
from rollout.plan.plan import Plan
from rollout.plan.registry import UnknownPlan
from rollout.runner import audits, lease, lost_triggers
from rollout.runner.transitions import move, paused_by

STOPPED = (RunState.FAILED, RunState.CANCELLED)
"""States of a run that came to no end and can go on."""
LARGEST_SAMPLE = 1_000_000


class Refused(Exception):
    """The verb does not fit the state of the rollout; the message names the next thing to do."""


class Actor(Protocol):
    """Who presses: a user, or the shell's stand-in for one."""

    def get_username(self) -> str: ...


def plan_of(rollout: Rollout) -> Plan:
    """The plan of a rollout. Raises UnknownPlan."""
    return plans.get(rollout.plan)


def refuse_out_of_reach(rollout: Rollout) -> None:
    """Raises Refused where a rollout's plan or database is away: nothing is queued, and nobody is
    told that it was, which no worker can carry out."""
    try:
        plan_of(rollout)
        with target_of(rollout.environment).connect():
            pass
    except (UnknownPlan, TargetAway) as error:
        raise Refused(f"Nothing was done. {error}") from error


def known_user(actor: Actor, what: str) -> AbstractBaseUser:
    """Only a user of the site can be told from another one. Raises Refused."""
    if not isinstance(actor, get_user_model()):
        raise Refused(f"Only a user of this site may {what}. In a shell say who you are: --user.")
    return actor


@contextmanager
def alone_with(rollout: Rollout) -> Iterator[None]:
    """A transaction in which no other verb acts on the rollout: what was asked still holds."""
    with journal.atomic():
        with journal.connection().cursor() as cursor:
            # A machine that is cut off meanwhile keeps nobody waiting for long.
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '30s'")
        Rollout.objects.select_for_update(no_key=True).get(pk=rollout.pk)
        yield


def active_run(rollout: Rollout) -> PhaseRun | None:
    return PhaseRun.objects.filter(rollout=rollout, state__in=ACTIVE).first()


def why_not_start(
    evidence: Evidence, active: PhaseRun | None, answers: Iterable[GateStatus]
) -> str:
    """Why a phase cannot be started now, with what to do about it; empty where it can."""
    plan, phase, runs = evidence.plan, evidence.number, evidence.runs
    if not 0 <= phase < len(plan.phases):
        return f"There is no phase {phase}: phases are 0 to {len(plan.phases) - 1}."
    if active is not None:
        return is_busy(active)
    newest = runs.get(phase)
    if newest is not None and newest.way == Way.BACKWARD and newest.state != RunState.DONE:
        return f"The rollback of phase {phase} has not come to its end. Retry it first."
    if gates.is_done(newest):
        return f"Phase {phase} is done already. Roll it back to carry it out again."
    begun_later = [n for n, run in runs.items() if n > phase and not gates.is_untouched(run)]
    if begun_later:
        return f"Phase {max(begun_later)} has begun already. Roll that back first."
    for status in answers:
        if not status.lets_through:
            return f"Gate “{status.name}”: {status.message}"
    return ""


def why_not_roll_back(
    plan: Plan, phase: int, runs: dict[int, PhaseRun], active: PhaseRun | None
) -> str:
    """Why a phase cannot be rolled back now, with what to do about it; empty where it can."""
    if not 0 <= phase < len(plan.phases):
        return f"There is no phase {phase}: phases are 0 to {len(plan.phases) - 1}."
    if active is not None:
        return is_busy(active)
    if gates.is_untouched(runs.get(phase)):
        return (
            f"Phase {phase} has not been carried out: there is nothing to roll back. "
            "Look for the newest phase that has."
        )
    begun_later = [n for n, run in runs.items() if n > phase and not gates.is_untouched(run)]
    if begun_later:
        return f"Phase {max(begun_later)} is newer. Roll that back first."
    return ""


def refuse_beside_restore(rollout: Rollout) -> None:
    """Raises Refused while a snapshot is being put back there."""
    restore = Restore.objects.filter(rollout=rollout, state__in=RESTORE_WORKING).first()
    if restore is not None:
        raise Refused(
            f"{restore.actor_name} is restoring snapshot {restore.snapshot_id} here. Wait for its "
            "end, or cancel it."
        )


def is_busy(active: PhaseRun) -> str:
    advice = {
        RunState.PAUSED: "Resume or cancel it first",
        RunState.CANCELLING: "Wait until it has stopped",
    }.get(
        RunState(active.state),
        "Wait for its end, or cancel it" if active.active else "Look at the page again",
    )
    return (
        f"{active.actor_name}'s {name_of(active)} is "
        f"{active.get_state_display().lower()}. {advice}."
    )


def name_of(run: PhaseRun) -> str:
    """What people call a run, within a sentence."""
    if run.way == Way.REPAIR:
        return f"repair of {run.repair.tables}"
    return f"rollback of phase {run.phase}" if run.way == Way.BACKWARD else f"phase {run.phase}"


def sentence_name_of(run: PhaseRun) -> str:
    """The same at the beginning of a sentence."""
    name = name_of(run)
    return name[0].upper() + name[1:]


def start(rollout: Rollout, phase: int, *, actor: Actor, source: str = "web") -> PhaseRun:
    """Start a phase, or go on with it where it failed or was cancelled. Raises Refused."""
    refuse_out_of_reach(rollout)
    plan = plan_of(rollout)
    gates.forget()
    _refuse_start(plan, rollout, phase, actor)
    # Before anybody is kept waiting: it may take seconds.
    found = preflight.look_before(rollout, phase)
    if found.refusal:
        raise Refused(found.refusal)
    with alone_with(rollout):
        newest, answers = _refuse_start(plan, rollout, phase, actor)
        return _begin(
            *(rollout, plan, phase, Way.FORWARD, newest, actor, source),
            preflight=preflight.as_data(found),
            gates=[gates.as_data(answer) for answer in answers],
        )


def _use_sign_offs(run: PhaseRun) -> None:
    """What was signed for a start counts for no other."""
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
    answers = list(gates.answers_of(evidence)) if 0 <= phase < len(plan.phases) else []
    reason = why_not_start(evidence, active_run(rollout), answers)
    if reason:
        raise Refused(reason)
    return evidence.run, answers


def roll_back(rollout: Rollout, phase: int, *, actor: Actor, source: str = "web") -> PhaseRun:
    """Start the rollback of a phase, or go on with it where it stopped. Raises Refused."""
    refuse_out_of_reach(rollout)
    plan = plan_of(rollout)
    with alone_with(rollout):
        runs = gates.newest_runs(rollout)
        reason = why_not_roll_back(plan, phase, runs, active_run(rollout))
        reason = reason or editing.said(rollout, plan, [phase])
        if reason:
            raise Refused(reason)
        return _begin(rollout, plan, phase, Way.BACKWARD, runs.get(phase), actor, source)


def _begin(
    rollout: Rollout,
    plan: Plan,
    phase: int,
    way: Way,
    newest: PhaseRun | None,
    actor: Actor,
    source: str,
    **more: object,
) -> PhaseRun:
    if newest is not None and newest.way == way and newest.state != RunState.DONE:
        return _go_on(rollout, newest, actor, source, **more)
    refuse_beside_restore(rollout)
    run = PhaseRun.objects.create(
        rollout=rollout,
        phase=phase,
        way=way,
        actor=actor if isinstance(actor, get_user_model()) else None,
        actor_name=actor.get_username(),
        plan_digest=plan.digest,
        lease_until=lease.grace(),
    )
    if way == Way.FORWARD:
        _use_sign_offs(run)
    event, verb = (
        (Event.PHASE_STARTED, "Started")
        if way == Way.FORWARD
        else (Event.ROLLBACK_STARTED, "Started the rollback of")
    )
    log.record(
        event,
        f"{verb} phase {phase}.",
        actor=run.actor_name,
        source=source,
        rollout=rollout,
        phase=phase,
        data={"run": run.pk, "plan_digest": plan.digest, **more},
    )
    queue.send_run(run)
    return run


def begin_in_rehearsal(rollout: Rollout, phase: int, way: Way, *, actor_name: str) -> PhaseRun:
    """Start a phase in the database of a rehearsal, where no gate is asked."""
    run = PhaseRun.objects.create(
        rollout=rollout,
        phase=phase,
        way=way,
        actor_name=actor_name,
        plan_digest=plan_of(rollout).digest,
        lease_until=lease.grace(),
    )
    queue.send_run(run)
    return run


def unfinished_repair(runs: dict[int, PhaseRun], newest: PhaseRun | None) -> PhaseRun | None:
    """The newest repair, if it is active, or failed or was cancelled and can go on."""
    if newest is None or newest.active:
        return newest
    return newest if newest.state in STOPPED and not _is_outdated(newest, runs) else None


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


def _why_not_retry(run: PhaseRun) -> str:
    """Why a run that somebody names cannot go on."""
    if run.state not in STOPPED:
        return (
            f"{sentence_name_of(run)} is {run.get_state_display().lower()}: there is nothing to "
            "retry. Look at the page again."
        )
    if run.way == Way.REPAIR:
        return f"More has been carried out since the {name_of(run)}. Start a new repair."
    return f"{sentence_name_of(run)} is not the newest run any more. Look at the page again."


def _is_outdated(repair: PhaseRun, runs: dict[int, PhaseRun]) -> bool:
    """Whether a phase was at work since a repair was asked for: it may be another repair by now."""
    return any(
        run.pk > repair.pk or (run.finished_at is not None and run.finished_at > repair.created_at)
        for run in runs.values()
    )


def retry(
    rollout: Rollout, *, run: PhaseRun | None = None, actor: Actor, source: str = "web"
) -> PhaseRun:
    """Go on with the run that failed or was cancelled, at the step that did not end.

    A phase is looked at once more, as before its start. ``run`` says which run, where a repair
    stopped after a phase did. Raises Refused.
    """
    refuse_out_of_reach(rollout)
    wanted = stopped_run(rollout, run)
    if wanted is None and run is not None and active_run(rollout) is None:
        raise Refused(_why_not_retry(run))
    more: dict[str, object] = {}
    if wanted is not None and wanted.way == Way.FORWARD and active_run(rollout) is None:
        _have_lost_triggers_made(rollout, wanted)
        found = preflight.look_before(rollout, wanted.phase)
        if found.refusal:
            raise Refused(found.refusal)
        more["preflight"] = preflight.as_data(found)
    with alone_with(rollout):
        return _go_on(rollout, wanted, actor, source, **more)


def _have_lost_triggers_made(rollout: Rollout, run: PhaseRun) -> None:
    plan = plan_of(rollout)
    with target_of(rollout.environment).connect() as connection:
        lost = lost_triggers.find_lost(connection, run, plan)
    if lost:
        lost_triggers.do_again(run, plan, lost)


def _go_on(
    rollout: Rollout, run: PhaseRun | None, actor: Actor, source: str, **more: object
) -> PhaseRun:
    busy = active_run(rollout)
    if busy is not None:
        raise Refused(is_busy(busy))
    refuse_beside_restore(rollout)
    run = stopped_run(rollout, run) if run is not None else None
    if run is None:
        raise Refused(
            "Nothing has failed or was cancelled: there is nothing to retry. Start a phase."
        )
    plan = plan_of(rollout)
    if edited := editing.said(rollout, plan, [run.phase]):
        raise Refused(edited)
    digest, former_digest = plan.digest, run.plan_digest
    if digest != former_digest and run.way == Way.FORWARD:
        _refuse_unapproved(rollout, run, actor)
    moved = move(
        run,
        RunState.QUEUED,
        error="",
        advice="",
        lease_until=lease.grace(),
        plan_digest=digest,
    )
    if not moved:
        raise Refused("Its state has just changed. Look at the page again.")
    if digest != former_digest:
        # The plan is another by now: every step asks the catalog afresh what is applied.
        run.steps.all().delete()
    if run.way == Way.FORWARD:
        _use_sign_offs(run)
    _record(run, Event.RETRIED, f"Retried {name_of(run)}.", actor, source, **more)
    queue.send_run(run)
    return run


def _refuse_unapproved(rollout: Rollout, run: PhaseRun, actor: Actor) -> None:
    """A run that goes on with another plan than it began with is approved anew, where the phase
    wants that at all. Raises Refused."""
    evidence = Evidence(rollout, run.phase, starter=actor)
    for gate in evidence.gates:
        if isinstance(gate, Approved) and not (given := gates.answer(gate, evidence)).lets_through:
            raise Refused(
                f"The plan has changed since phase {run.phase} began. Gate “{given.name}”: "
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
            raise Refused(f"It cannot be paused now: {is_busy(run)}")
        _record(run, Event.PAUSE_ASKED_FOR, f"Asked {name_of(run)} to pause.", actor, source)
        if run.state == RunState.PAUSED:
            _record(run, Event.PAUSED, f"{sentence_name_of(run)} is paused.", actor, source)
    return run


def resume(rollout: Rollout, *, actor: Actor, source: str = "web") -> PhaseRun:
    """Let a paused phase go on. Raises Refused."""
    refuse_out_of_reach(rollout)
    with alone_with(rollout):
        run = active_run(rollout)
        if run is None:
            raise Refused("Nothing is paused: there is nothing to resume. Start or retry a phase.")
        if run.state != RunState.PAUSED or not move(
            run, RunState.QUEUED, lease_until=lease.grace()
        ):
            raise Refused(f"Only a paused phase can be resumed: {is_busy(run)}")
        _record(run, Event.RESUMED, f"Resumed {name_of(run)}.", actor, source)
        queue.send_run(run)
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
            raise Refused(f"It cannot be cancelled now: {is_busy(run)}")
        _record(run, Event.CANCEL_ASKED_FOR, f"Asked {name_of(run)} to stop.", actor, source)
        if run.state == RunState.CANCELLED:
            _record(run, Event.CANCELLED, f"{sentence_name_of(run)} is cancelled.", actor, source)
    return run


def set_pace(
    job: BackfillJob,
    *,
    target_ms: int,
    duty_percent: int,
    workers: int,
    actor: Actor,
    source: str = "web",
) -> None:
    """Change how fast a job goes, from its next batch on. Raises Refused on values out of range."""
    if closed := why_gone(job.step_run.run.rollout.environment):
        raise Refused(closed)
    if not 10 <= target_ms <= 2000:
        raise Refused("A batch may aim at 10 to 2,000 ms. 75 is a good start.")
    if not 5 <= duty_percent <= 100:
        raise Refused("Batches may run in 5 to 100 percent of the time.")
    if not 1 <= workers <= 32:
        raise Refused("1 to 32 workers may share a job.")
    with journal.atomic():
        changed = BackfillJob.objects.filter(pk=job.pk, finished_at=None).update(
            target_ms=target_ms, duty_percent=duty_percent, workers=workers
        )
        if not changed:
            raise Refused("The job has ended: its pace cannot change any more.")
        _record(
            job.step_run.run,
            Event.PACE_CHANGED,
            f"Batches of {job.table} aim at {target_ms} ms in {duty_percent} % of the time, with "
            f"{workers} workers.",
            actor,
            source,
        )


def retry_quarantined(job: BackfillJob, *, actor: Actor, source: str = "web") -> None:
    """Have the rows that the database refused tried once more. Raises Refused."""
    run = job.step_run.run
    refuse_out_of_reach(run.rollout)
    if job.kind == Proof.kind:
        raise Refused("A proof writes no row. Put the rows right, then retry the phase.")
    if run.way == Way.REPAIR and _is_outdated(run, gates.newest_runs(run.rollout)):
        raise Refused("More has been carried out since that repair. Start a new one.")
    if run.active and run.state != RunState.PAUSED:
        raise Refused("The job is at work. Retry its refused rows when it has ended or is paused.")
    with journal.atomic():
        _record(
            run,
            Event.QUARANTINE_RETRY,
            f"Had the refused rows of {job.table} tried again.",
            actor,
            source,
        )
        queue.send_while_fresh("retry_quarantined", job.pk, actor.get_username())


def why_not_audit(
    rollout: Rollout, *, sample: int | None, seed: int | None, tables: Sequence[str]
) -> str:
    """Why there can be no such audit, with what to do about it; empty where there can."""
    known = [table.label for table in plan_of(rollout).audited_tables]
    unknown = sorted(set(tables) - set(known))
    if unknown:
        return f"There is no audited table {unknown[0]}. There are: {', '.join(known)}."
    if sample is not None and not 1 <= sample <= LARGEST_SAMPLE:
        return f"A sample may have 1 to {LARGEST_SAMPLE:,} rows. 10,000 is a good start."
    if seed is not None and not 0 <= seed <= audits.LARGEST_SEED:
        return f"A seed is a number from 0 to {audits.LARGEST_SEED:,}."
    return ""


def start_audit(
    rollout: Rollout,
    *,
    actor: Actor,
    source: str = "web",
    sample: int | None = None,
    seed: int | None = None,
    tables: Sequence[str] = (),
) -> AuditReport:
    """Ask for a full audit of a rollout, or one of so many random rows of each table.

    Raises Refused while one is under way, and for a size, seed or table that cannot be.
    """
    refuse_out_of_reach(rollout)
    why_not = why_not_audit(rollout, sample=sample, seed=seed, tables=tables)
    if why_not:
        raise Refused(why_not)
    with alone_with(rollout):
        running = AuditReport.objects.filter(rollout=rollout, status=AuditStatus.RUNNING).first()
        if running is not None:
            raise Refused(
                f"An audit that {running.actor_name} started is under way. Wait for its report."
            )
        report = audits.asked_for(
            rollout,
            actor_name=actor.get_username(),
            source=source,
            sample=sample,
            seed=seed,
            tables=tables,
        )
        queue.send_audit(report)
    return report


def _record(
    run: PhaseRun, event: Event, message: str, actor: Actor, source: str, **more: object
) -> None:
    log.record(
        event,
        message,
        actor=actor.get_username(),
        source=source,
        rollout=run.rollout,
        phase=run.phase,
        data={"run": run.pk, **more},
    )
