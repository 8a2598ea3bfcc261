"""What workers do with leased work, whatever its kind: claim it, work, write down how it ended.

A kind is a subclass, whose hooks are called in this order: ``work``, then ``done``, ``stopped`` or
``failed``, then ``released``. If ``work`` returns before the end, the queue hands it out again; if
the worker dies, the watchdog does. ``rollout.worker.kinds`` lists the kinds.
"""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import psycopg
from django.db.models import QuerySet

from rollout import journal, queue
from rollout.engine.control import Interrupted
from rollout.engine.snapshot import failures
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.statement_activities import StatementActivity
from rollout.journal import activity_log
from rollout.journal.events import Event
from rollout.journal.transitions import move
from rollout.models import Attempted, Leased, RunState
from rollout.worker import leases
from rollout.worker.leases import Lease

_log = logging.getLogger(__name__)

Work = TypeVar("Work", bound=Leased)
Job = TypeVar("Job", bound=Attempted)

# Every kind of work calls them the same.
FAILED, CANCELLING, CANCELLED = RunState.FAILED, RunState.CANCELLING, RunState.CANCELLED


class LeasedJob(Generic[Work]):
    """One worker's hold of one piece of work, from its claim to its end."""

    model: type[Work]
    working: tuple[str, ...]
    """States in which a worker has something to do: the watchdog brings work in them back."""
    related: tuple[str, ...] = ("rollout",)
    """What is read along with it."""
    expected_errors: tuple[type[Exception], ...] = ()
    """Exceptions that are an answer: their message, and ``advice``, is why it failed."""
    lease: Lease

    def __init__(self, job: Work) -> None:
        self.job = job
        self.token = job.token

    @classmethod
    def carry_out(cls, pk: int, token: int, *, from_queue: bool = True) -> None:
        """Go on with a piece of work, if the token is still the newest one."""
        job = cls.waiting().filter(pk=pk).first()
        if job is None or not leases.claim(job, token):
            return
        own = cls(job)
        lease = Lease(
            job, on_wait=own.waits_for, on_activity=own.report_activity, from_queue=from_queue
        )
        with lease as own.lease:
            try:
                is_over = own.work()
                if is_over:
                    own.done()
            except Interrupted:
                own.stopped()
            except own.expected_errors as error:
                own.failed(error)
            except Exception as error:
                if own.is_left_open_by(error):
                    # The lease runs out, and the watchdog has it resumed where it was.
                    raise
                if own.is_to_stop:
                    own.stopped()
                else:
                    own.failed(error)
            else:
                if not is_over and leases.extend(job, own.token):
                    queue.send_work(job)
        own.released()

    @classmethod
    def waiting(cls) -> QuerySet[Work]:
        """The work of this kind that a worker has something to do with."""
        in_work = {f"{cls.model.state_field}__in": cls.working}
        return cls.model._default_manager.filter(**in_work).select_related(*cls.related)

    @classmethod
    def lost(cls) -> QuerySet[Work]:
        """The work whose lease has run out."""
        return cls.waiting().filter(leases.run_out())

    # The hooks.

    def waits_for(self, reason: str) -> None:
        """Write down for people what the work waits for."""

    def report_activity(self, activity: StatementActivity | None) -> None:
        """Write down the activity of its statement."""

    def work(self) -> bool:
        """Do the work, or a slice of it; whether it is over. Raises Interrupted where it stops."""
        raise NotImplementedError

    def done(self) -> None:
        """Write down its good end."""

    def stopped(self) -> None:
        """It reached a safe point because it was asked to stop, or another worker has it."""
        raise NotImplementedError

    def is_left_open_by(self, error: Exception) -> bool:
        """Whether an error leaves open how far the work came: its next worker finds out."""
        return False

    def failed(self, error: Exception) -> None:
        """Write down why it failed, and what to do next."""
        raise NotImplementedError

    def released(self) -> None:
        """Start what follows from its end. Its lease is over."""

    @property
    def is_to_stop(self) -> bool:
        return self.lease.lost or self.lease.asked_to is CANCELLING


class AttemptedJob(LeasedJob[Job]):
    """Work that is done in one go, by one worker after the other until one finishes."""

    ends: ClassVar[Mapping[str, Event]]
    """States to what the activity log says of work that ends in them."""
    cancel_asked: ClassVar[Event]
    max_attempts: ClassVar[int] = 3
    """How many workers may die of it before it counts as failed."""
    again: ClassVar[str] = "try again"
    """What advice says to do once the cause is fixed."""

    def stopped(self) -> None:
        if self.mine(CANCELLING).exists():
            self.job.refresh_from_db()
            self.end(CANCELLED, *self.when_cancelled())

    def failed(self, error: Exception) -> None:
        self.end(FAILED, *self.explained(error))

    # Hooks of its own.

    def when_cancelled(self) -> tuple[str, str]:
        """What there is to say of cancelled work, and what to do next."""
        return "", ""

    def explained(self, error: Exception) -> tuple[str, str]:
        """What an error says to people, and what to do next."""
        if isinstance(error, self.expected_errors):
            return str(error), getattr(error, "advice", "")
        if isinstance(error, psycopg.Error):
            meant = failures.of_database(error)
            return str(meant), meant.advice
        if isinstance(error, OSError) and failures.is_full(error):
            meant = failures.of_full_machine(error)
            return str(meant), meant.advice
        _log.exception("%s", self.job.title)
        message = failures.sentence(f"{type(error).__name__}: {error}")
        return message, f"Look at the worker's log, then {self.again}."

    def cleared_up(self, state: str, advice: str) -> dict[str, Any]:
        """Clear up; more fields to write, such as a longer ``advice``."""
        return {}

    def log_message(self, text: str) -> str:
        return f"{self.job.title}: {text}".strip()

    def log_data(self) -> dict[str, Any]:
        """What the activity log keeps besides what it always keeps of such work."""
        return {}

    # What the hooks are made of.

    def mine(self, *states: str) -> QuerySet[Job]:
        """The job's row, while it is this worker's and in one of these states."""
        return self.waiting().filter(pk=self.job.pk, token=self.token, state__in=states)

    def write(self, state: str = "", **fields: Any) -> None:
        """Write down its progress, or its next state.

        Raises Interrupted if it was cancelled, or another worker has it.
        """
        if state:
            written = move(self.job, state, token=self.token, **fields)
        else:
            goes_on = (known for known in self.working if known != CANCELLING)
            written = bool(self.mine(*goes_on).update(**fields))
        if not written:
            raise Interrupted("Cancelled, or taken over by another worker.")
        for name, value in fields.items():
            setattr(self.job, name, value)

    def tell(self, activity: str) -> None:
        """Write down its present activity. Raises Interrupted."""
        self.write(activity=activity)

    def count_attempt(self, **fields: Any) -> None:
        """Count an attempt, also of work that is being cancelled."""
        self.job.attempts += 1
        self.mine(*self.working).update(attempts=self.job.attempts, **fields)

    def refuse_more_attempts(self, during: str = "") -> None:
        """Raises SnapshotError once too many workers died of it."""
        if self.job.attempts > self.max_attempts:
            raise SnapshotError(
                f"{self.max_attempts} workers crashed {during or f'during the {self.job.kind}'}.",
                f"Check the worker's machine for lack of memory or disk, then {self.again}.",
            )

    def end(self, state: str, error: str = "", advice: str = "") -> None:
        """Clear up and write down how it ended, unless another worker has it."""
        if self.lease.lost:
            return
        fields: dict[str, Any] = {"error": error, "advice": advice, "activity": ""}
        fields |= self.cleared_up(state, advice)
        with journal.atomic():
            if move(self.job, state, token=self.token, **fields):
                self.record(
                    self.ends[state],
                    f"{error} {fields['advice']}",
                    actor=self._canceller() if state == CANCELLED else "",
                )

    def record(self, event: Event, text: str, *, actor: str = "") -> None:
        """Record what became of it, by default in the name of who requested it."""
        activity_log.record(
            event,
            self.log_message(text),
            on=self.job,
            actor=actor or self.job.actor_name,
            source="worker",
            **self.log_data(),
        )

    def _canceller(self) -> str:
        """The user who cancelled the job, as opposed to the one who requested it."""
        job = self.job
        return activity_log.last_actor(self.cancel_asked, rollout=job.rollout, **{job.kind: job.pk})
