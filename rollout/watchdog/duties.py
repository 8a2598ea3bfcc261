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
    database_stats,
    guardrails,
    log_checks,
    reminders,
    requested_rehearsals,
    sampled_audits,
    scheduled_starts,
)
from rollout.watchdog.clock_watch import ClockWatch
from rollout.watchdog.database_stats import DatabaseSampler
from rollout.watchdog.lost_work import bring_back, continue_chains
from rollout.watchdog.queue_beat import QueueBeat
from rollout.watchdog.view_refresh import ViewRefresher
from rollout.worker.kinds import KINDS

# The watchdog looks every second: with no interval of its own a duty is due each time.
EVERY_LOOK = timedelta(0)
# New entries of the log are verified a few seconds later.
CHECKS_EVERY = timedelta(seconds=5)
# A sample is asked for a few seconds after it is due at the latest; intervals are minutes.
SAMPLES_EVERY = timedelta(seconds=5)
STATISTICS_EVERY = timedelta(seconds=10)
# Little at a time costs little, and pages stay quick.
RETENTION_EVERY = timedelta(seconds=10)


@dataclass(frozen=True)
class Duty:
    """What is done every ``every``.

    A duty that ``needs_worker`` puts messages into the queue: without a living worker they would
    only pile up there, so that it waits. One that ``deletes`` what is old waits for a day after a
    clock has jumped: nobody knows then how old anything is.
    """

    name: str
    every: timedelta
    carry_out: Callable[[], object]
    needs_worker: bool = False
    deletes: bool = False


def duties() -> tuple[Duty, ...]:
    """Every duty in its order, the urgent ones first. What they remember is this list's own."""
    looks, reads, keeps = EVERY_LOOK, STATISTICS_EVERY, RETENTION_EVERY
    return (
        # Before whatever asks what time it is.
        Duty("clock watch", looks, ClockWatch().look),
        Duty("queue beat", looks, QueueBeat().send_due),
        Duty("guardrails", looks, guardrails.evaluate_all),
        Duty("delivery collection", looks, deliveries.collect),
        Duty("scheduled starts", looks, scheduled_starts.start_due),
        *(
            Duty(f"lost {kind.model.kind}s", looks, partial(bring_back, kind), needs_worker=True)
            for kind in KINDS
        ),
        Duty("rollback chains", looks, continue_chains, needs_worker=True),
        Duty("rehearsals", looks, requested_rehearsals.start_due, needs_worker=True),
        Duty("view refreshes", looks, ViewRefresher().send_due, needs_worker=True),
        Duty("deliveries", looks, deliveries.ask_for_delivery, needs_worker=True),
        Duty("sampled audits", SAMPLES_EVERY, sampled_audits.send_due, needs_worker=True),
        Duty("approval reminders", SAMPLES_EVERY, reminders.send_due),
        Duty("log verification", CHECKS_EVERY, log_checks.verify_next),
        Duty("database statistics", reads, DatabaseSampler().sample_all),
        Duty("snapshot expiry", keeps, snapshots.remove_expired, deletes=True),
        Duty("telemetry retention", keeps, retention.downsample, deletes=True),
        Duty("statistics retention", keeps, database_stats.downsample, deletes=True),
        Duty("heartbeat retention", keeps, heartbeats.delete_old),
        Duty("delivery retention", keeps, deliveries.delete_old, deletes=True),
        Duty("queue retention", keeps, queue.forget_lost),
    )
