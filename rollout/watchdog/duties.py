"""The list of everything that a watchdog does while it leads."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from rollout import queue
from rollout.journal import heartbeats
from rollout.notifications import deliveries
from rollout.runner import snapshots
from rollout.telemetry import retention
from rollout.watchdog import (
    database_statistics,
    guardrails,
    log_checks,
    reminders,
    requested_rehearsals,
    sampled_audits,
    scheduled_starts,
)
from rollout.watchdog.clock_watch import ClockWatch
from rollout.watchdog.database_statistics import DatabaseReader
from rollout.watchdog.lost_work import bring_back, continue_chains
from rollout.watchdog.queue_beat import QueueBeat
from rollout.watchdog.view_refresh import ViewRefresher
from rollout.worker.kinds import KINDS

# The watchdog looks every second, at rest every five: with no interval of its own a duty is due
# each time.
EVERY_LOOK = timedelta(0)
# New entries of the log are verified a few seconds later.
CHECKS_EVERY = timedelta(seconds=5)
# A sample is requested a few seconds after it is due at the latest; intervals are minutes.
SAMPLES_EVERY = timedelta(seconds=5)
STATISTICS_EVERY = timedelta(seconds=10)
# Little at a time costs little, and pages stay quick.
RETENTION_EVERY = timedelta(seconds=10)

# Intervals while nothing is under way, where they are longer.
# While the application measures nothing. While it does, guardrails are evaluated at every look.
RULES_AT_REST = timedelta(seconds=30)
# Nothing waits for them by the second.
URGENT_AT_REST = timedelta(seconds=5)
# Views are refreshed every minute or less often.
VIEWS_AT_REST = timedelta(seconds=10)
# Samples and reminders wait for hours; and entries are few.
SELDOM_AT_REST = timedelta(seconds=30)
# Two readings of the minute after which a page calls the newest one outdated.
STATISTICS_AT_REST = timedelta(seconds=30)
RETENTION_AT_REST = timedelta(minutes=5)


@dataclass(frozen=True)
class Duty:
    """What is done every ``every``, and while nothing is under way every ``at_rest`` if longer.

    A duty that ``needs_worker`` puts messages into the queue: without a living worker they would
    only pile up there, so that it waits. One that ``deletes`` what is old waits for a day after a
    clock has jumped: nobody knows then how old anything is.
    """

    name: str
    every: timedelta
    carry_out: Callable[[], object]
    needs_worker: bool = False
    deletes: bool = False
    at_rest: timedelta = EVERY_LOOK
    needs_work: bool = False
    """Whether there is nothing to do at rest, as ``rests.is_at_rest`` finds out."""
    reads_measurements: bool = False
    """Whether it does not rest while the application measures."""

    def interval(self, *, at_rest: bool) -> timedelta:
        return max(self.every, self.at_rest) if at_rest else self.every


def duties() -> tuple[Duty, ...]:
    """Every duty in its order, the urgent ones first. What they remember is this list's own."""
    looks, samples = EVERY_LOOK, SAMPLES_EVERY
    seldom = partial(Duty, at_rest=SELDOM_AT_REST)
    keeps = partial(Duty, every=RETENTION_EVERY, at_rest=RETENTION_AT_REST)
    return (
        # Before whatever asks what time it is.
        Duty("clock watch", looks, ClockWatch().look),
        Duty("queue beat", looks, QueueBeat().send_due, at_rest=URGENT_AT_REST),
        Duty(
            "guardrails",
            looks,
            guardrails.evaluate_all,
            at_rest=RULES_AT_REST,
            reads_measurements=True,
        ),
        Duty("delivery collection", looks, deliveries.collect, at_rest=URGENT_AT_REST),
        Duty("scheduled starts", looks, scheduled_starts.start_due, needs_work=True),
        *(
            Duty(
                f"lost {kind.model.kind}s",
                looks,
                partial(bring_back, kind),
                needs_worker=True,
                needs_work=True,
            )
            for kind in KINDS
        ),
        Duty(
            "rollback chains",
            looks,
            continue_chains,
            needs_worker=True,
            needs_work=True,
        ),
        Duty("rehearsals", looks, requested_rehearsals.start_due, needs_worker=True),
        Duty(
            "view refreshes",
            looks,
            ViewRefresher().send_due,
            needs_worker=True,
            at_rest=VIEWS_AT_REST,
        ),
        Duty("deliveries", looks, deliveries.ask_for_delivery, needs_worker=True),
        seldom("sampled audits", samples, sampled_audits.send_due, needs_worker=True),
        seldom("approval reminders", samples, reminders.send_due),
        seldom("log verification", CHECKS_EVERY, log_checks.verify_next),
        Duty(
            "database statistics",
            STATISTICS_EVERY,
            DatabaseReader().read_all,
            at_rest=STATISTICS_AT_REST,
        ),
        Duty("snapshot expiry", RETENTION_EVERY, snapshots.remove_expired, deletes=True),
        keeps("telemetry retention", carry_out=retention.downsample, deletes=True),
        keeps("statistics retention", carry_out=database_statistics.downsample, deletes=True),
        keeps("heartbeat retention", carry_out=heartbeats.delete_old),
        keeps("delivery retention", carry_out=deliveries.delete_old, deletes=True),
        keeps("queue retention", carry_out=queue.forget_lost),
    )
