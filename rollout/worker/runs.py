"""Runs a phase, a slice of time at a time, in the worker that the queue picks."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

from rollout import journal, logs
from rollout.engine import catalog, ddl, fences
from rollout.engine.control import Interrupted
from rollout.engine.statement_activities import StatementActivity
from rollout.engine.statistics import Measure, measure
from rollout.engine.target import Connection, install
from rollout.gates.readers import statement_calls
from rollout.journal import activity_log
from rollout.journal.audits import against
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database
from rollout.journal.transitions import move
from rollout.logs.texts import counted
from rollout.models import WORKING, Direction, PhaseRun, RunState, StepRun, StepState
from rollout.plan import plans
from rollout.plan.actions import (
    Action,
    Audit,
    CompareSchema,
    Compute,
    Fill,
    Probe,
    Statement,
)
from rollout.plan.copies import Copy
from rollout.plan.gates import NoLegacyReaders
from rollout.plan.kept_rights import FORGET_RIGHTS_OF_GONE_ROLES
from rollout.plan.plan import Plan, Step
from rollout.plan.proofs import Proof
from rollout.worker import audits, backfills, lost_triggers, probes, repairs
from rollout.worker.calm_moments import wait_for_calm
from rollout.worker.failures import (
    SchemaDiffers,
    advice_for,
    connection_lost,
    entry_for,
    not_clean,
    refuse_other_plan,
)
from rollout.worker.leased_jobs import LeasedJob
from rollout.worker.leases import Lease

_log = logging.getLogger(__name__)

_ROLLED_BACK = "Rolled back."
_STOPPED = {RunState.PAUSED: Event.PAUSED, RunState.CANCELLED: Event.CANCELLED}
_FAILED = {
    Direction.FORWARD: Event.PHASE_FAILED,
    Direction.BACKWARD: Event.ROLLBACK_FAILED,
    Direction.REPAIR: Event.REPAIR_FAILED,
}
# How long a worker works on a run before other messages get their turn.
SLICE_SECONDS = 5.0


class RunJob(LeasedJob[PhaseRun]):
    """Works on a run for a slice of time."""

    model = PhaseRun
    working = WORKING

    def __init__(self, run: PhaseRun) -> None:
        super().__init__(run)
        self.run = run
        self.until = time.monotonic() + SLICE_SECONDS
        self.step_run: StepRun | None = None
        # At the end of the step before, where the next one begins.
        self._measured: Measure | None = None

    @cached_property
    def plan(self) -> Plan:
        return plans.get(self.run.rollout.plan)

    @cached_property
    def steps(self) -> list[Step]:
        """The steps of the run in order. A rollback undoes the started ones, newest first."""
        if self.run.direction == Direction.REPAIR:
            return [repairs.step_of(self.run)]
        steps = list(self.plan.phases[self.run.phase].steps)
        if self.run.direction == Direction.FORWARD:
            return steps
        rolled_back = PhaseRun.objects.filter(
            rollout=self.run.rollout,
            phase=self.run.phase,
            direction=Direction.BACKWARD,
            state=RunState.DONE,
        ).first()
        begun = set(
            StepRun.objects.filter(
                run__rollout=self.run.rollout,
                run__phase=self.run.phase,
                run__direction=Direction.FORWARD,
                run__pk__gt=rolled_back.pk if rolled_back else 0,
            ).values_list("step", flat=True)
        )
        return [step for step in reversed(steps) if step.id in begun]

    def waits_for(self, reason: str) -> None:
        """Write down for people what the present step waits for."""
        if self.step_run is not None:
            StepRun.objects.filter(pk=self.step_run.pk).update(waiting_for=reason)

    def report_activity(self, activity: StatementActivity | None) -> None:
        """Write down the activity of the present step's statement."""
        if self.step_run is not None:
            StepRun.objects.filter(pk=self.step_run.pk, state=StepState.RUNNING).update(
                activity=activity.as_data() if activity else None, waiting_for=str(activity or "")
            )

    def work(self) -> bool:
        """Do steps until the slice or the phase ends, or somebody stops it."""
        if self.run.state == RunState.QUEUED:
            move(
                self.run,
                RunState.RUNNING,
                token=self.token,
                started_at=self.run.started_at or by_the_database(),
            )
        if self.run.state != RunState.RUNNING:
            raise Interrupted(f"The run is {self.run.state}.")
        refuse_other_plan(self.run, self.plan)
        with target_of(self.run.rollout.environment).connect() as connection:
            fences.take_over(connection, self.plan.name, self.lease)
            install(connection)
            if self._backward:
                ddl.apply(connection, FORGET_RIGHTS_OF_GONE_ROLES, self.lease)
            if self._repairs:
                repairs.count_before(self.run, connection, self.lease)
            for position, step in enumerate(self.steps):
                with logs.bound(step=step.id):
                    if not self._run_step(position, step, connection, self.lease):
                        return False
            self._refuse_lost_triggers(connection)
            self._record_statement_calls(connection)
            if self._repairs:
                repairs.count_after(self.run, connection, self.lease)
        return True

    def _record_statement_calls(self, connection: Connection) -> None:
        """Write down what the next phase's gate about legacy readers compares with."""
        following = self.plan.phases[self.run.phase + 1 :][:1]
        asked = any(
            isinstance(gate, NoLegacyReaders) for phase in following for gate in phase.gates
        )
        if asked and not self._backward and not self._repairs:
            calls = statement_calls(connection, self.plan)
            mine = PhaseRun.objects.filter(pk=self.run.pk, token=self.token)
            mine.update(statement_calls=calls)

    def is_left_open_by(self, error: Exception) -> bool:
        return not self.is_to_stop and connection_lost(error)

    def _run_step(self, position: int, step: Step, connection: Connection, lease: Lease) -> bool:
        """Do a step; False if the slice ended first."""
        row, created = StepRun.objects.get_or_create(
            run=self.run, step=step.id, defaults={"position": position}
        )
        if row.state == StepState.DONE:
            return True
        lease.raise_if_stopped()
        self.step_run = row
        row.started_at = row.started_at or by_the_database()
        if created or row.state != StepState.RUNNING:
            row.attempts += 1
            _log.info("Step %s begins, attempt %s", step.id, row.attempts)
        if not row.began_with and (now := self._measured or measure(connection, self.plan)):
            row.began_with = asdict(now)
        row.state = StepState.RUNNING
        row.error = row.waiting_for = ""
        row.finished_at = row.activity = None
        row.save(
            update_fields=[
                *("state", "started_at", "finished_at", "attempts", "error", "waiting_for"),
                *("activity", "began_with"),
            ]
        )
        step_actions = self.plan.backward(step) if self._backward else self.plan.forward(step)
        for number, action in enumerate(step_actions.actions):
            again = number < row.actions_done
            if _is_for_others(action, connection) or (again and not _can_be_asked(action)):
                continue
            earlier = [
                a for a in step_actions.actions[:number] if isinstance(a, Statement) and a.done
            ]
            result = self._run_action(number, action, connection, lease, earlier)
            if result is None:
                return False
            if again and result in (self._already, ""):
                continue
            row.actions_done = max(row.actions_done, number + 1)
            row.result = self._with(row.result, result)
            row.save(update_fields=["actions_done", "result"])
            lease.raise_if_stopped()
        self._step_done(row, step, connection)
        return True

    def _with(self, before: str, result: str) -> str:
        """What a step came to with one more result; each is reported once."""
        ran, there = self._applied, self._already
        if result in (ran, there):
            in_part = f"{ran[:-1]}; part of it was {ran[:-1].lower()} before."
            if before.endswith((ran, there)) and not before.endswith(result):
                return f"{before.removesuffix(ran).removesuffix(there)}{in_part}"
            if before.endswith(in_part):
                return before
        return before if before.endswith(result) else f"{before} {result}".strip()

    def _step_done(self, row: StepRun, step: Step, connection: Connection) -> None:
        if not row.result:
            row.result = "Nothing to roll back." if self._backward else "No changes needed."
        row.state = StepState.DONE
        row.finished_at = by_the_database()
        row.waiting_for = ""
        row.activity = None
        self._measured = now = measure(connection, self.plan)
        if row.began_with and now:
            row.wal_bytes = now.wal - row.began_with["wal"]
            row.growth = now.growth_since(row.began_with["sizes"])
        with journal.atomic():
            row.checksum = step.checksum
            row.save(
                update_fields=[
                    *("state", "finished_at", "result", "waiting_for", "activity", "checksum"),
                    *("wal_bytes", "growth"),
                ]
            )
            event = Event.STEP_ROLLED_BACK if self._backward else Event.STEP_DONE
            self._record(
                event, f"{step.description}: {self._for_the_log(row.result)}", step=step.id
            )

    def _for_the_log(self, result: str) -> str:
        """A step's result for the activity log, which says if it was rolled back."""
        if self._backward and "roll" not in result.lower():
            return f"{_ROLLED_BACK} {result}"
        return result

    def _run_action(
        self,
        number: int,
        action: Action,
        connection: Connection,
        lease: Lease,
        earlier: Sequence[Statement],
    ) -> str | None:
        """Do an action; a sentence of its result, empty where there was nothing to do.

        None if the slice ended first.
        """
        assert self.step_run is not None
        match action:
            case Statement():
                calm = partial(wait_for_calm, connection, action, self.run, self.plan, lease)
                if ddl.apply(connection, action, lease, clearing=earlier, calm=calm):
                    return self._applied
                # One that generates nothing had nothing to do: nobody applied it before.
                return "" if action.generates else self._already
            case Fill() | Compute() | Proof() | Copy():
                self._refuse_lost_triggers(connection)
                filled = backfills.run_job(
                    connection, action, self.step_run, number, until=self.until, control=lease
                )
                if filled is not None:
                    self._refuse_lost_triggers(connection)
                return filled
            case Audit():
                return self._audit(lease)
            case Probe():
                return probes.try_out(self.run.rollout, action.flow)
            case CompareSchema():
                return self._compare(connection)

    def _refuse_lost_triggers(self, connection: Connection) -> None:
        lost_triggers.refuse_lost(connection, self.run, self.plan)

    def _audit(self, lease: Lease) -> str:
        report = audits.of_run(self.run, lease)
        if report.status != "clean":
            raise not_clean(report, audits.outcome_of(report))
        return f"{counted(report.rows, 'row')} compared, 0 mismatches. {against(report)}".strip()

    def _compare(self, connection: Connection) -> str:
        live = catalog.read(connection, catalog.labels_of(self.plan))
        drifts = catalog.compare(self.plan, phases_done=self.run.phase, live=live)
        if drifts:
            raise SchemaDiffers("The live schema differs: " + "; ".join(map(str, drifts)) + ".")
        return f"{counted(len(live.tables), 'table', 'match')} the plan."

    def done(self) -> None:
        with journal.atomic():
            if move(self.run, RunState.DONE, token=self.token, lease_until=None):
                if self._repairs:
                    repairs.record_end(self.run)
                    return
                self._record(
                    Event.ROLLBACK_DONE if self._backward else Event.PHASE_DONE, self._ended("done")
                )

    def stopped(self) -> None:
        self.run.refresh_from_db()
        to = {
            RunState.PAUSING: RunState.PAUSED,
            RunState.CANCELLING: RunState.CANCELLED,
        }.get(RunState(self.run.state))
        if to is None or self.lease.lost:
            return
        with journal.atomic():
            if move(self.run, to, token=self.token, lease_until=None):
                audits.give_up(f"The phase was {to} before the audit finished.", run=self.run)
                self._record(_STOPPED[to], self._ended(str(to)), actor=self._stopped_by(to))

    def _stopped_by(self, to: RunState) -> str:
        """The actor that stopped the run: a person, or a guardrail by its name."""
        events = (
            (Event.CANCEL_ASKED_FOR,)
            if to == RunState.CANCELLED
            else (Event.PAUSE_ASKED_FOR, Event.PAUSED_BY_RULE)
        )
        return activity_log.last_actor(*events, rollout=self.run.rollout, run=self.run.pk)

    def failed(self, error: Exception) -> None:
        text = str(error).strip().replace("\x00", "") or type(error).__name__
        advice = advice_for(error, may_go_back=not (self._repairs or self._backward))
        entry = entry_for(error, backward=self._backward)
        with journal.atomic():
            if not move(
                self.run,
                RunState.FAILED,
                token=self.token,
                lease_until=None,
                error=text,
                advice=f"{advice} {entry.reference}",
            ):
                return
            audits.give_up("The phase failed before the audit finished.", run=self.run)
            if self.step_run is not None:
                StepRun.objects.filter(pk=self.step_run.pk).update(
                    state=StepState.FAILED,
                    error=text,
                    finished_at=by_the_database(),
                    waiting_for="",
                    activity=None,
                )
            step = self.step_run.step if self.step_run else ""
            message = f"{self.run.title} failed. {text}"
            self._record(_FAILED[Direction(self.run.direction)], message, step=step)

    @property
    def _applied(self) -> str:
        """The result of a statement."""
        return _ROLLED_BACK if self._backward else "Applied."

    @property
    def _already(self) -> str:
        """The same if the catalog shows that it was done before."""
        return "Already rolled back." if self._backward else "Already applied."

    @property
    def _backward(self) -> bool:
        return self.run.direction == Direction.BACKWARD

    @property
    def _repairs(self) -> bool:
        return self.run.direction == Direction.REPAIR

    def _ended(self, how: str) -> str:
        return f"{self.run.title} is {how}."

    def _record(self, event: Event, message: str, *, actor: str = "", **data: Any) -> None:
        activity_log.record(
            event,
            message,
            on=self.run,
            actor=actor or activity_log.attempted_by(self.run),
            source="worker",
            **data,
        )


def _can_be_asked(action: Action) -> bool:
    """Whether the catalog says if an action is done, so that asking again is safe.

    An earlier action may clear up what a later one left half done, such as an invalid index.
    """
    return isinstance(action, Statement) and action.done is not None


def _is_for_others(action: Action, connection: Connection) -> bool:
    """Whether an action is for servers of another version."""
    return isinstance(action, Statement) and not action.is_for(connection.info.server_version)
