"""A journal made by hand: what pages show, without the time it takes to happen."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rollout import gates
from rollout.journal import activity_log, heartbeats
from rollout.journal.events import Event
from rollout.models import (
    AuditReport,
    BackfillJob,
    DatabaseReading,
    Delivery,
    Environment,
    FlowProbe,
    Heartbeat,
    LogEntry,
    MappingChange,
    Measurement,
    Mismatch,
    Observation,
    PhaseRun,
    Rehearsal,
    Restore,
    Rollout,
    RuleState,
    SignOff,
    Snapshot,
    StepRun,
)
from rollout.plan import Item, plans
from rollout.queries.status import find_rollout
from rollout.telemetry.histograms import Histogram
from tests.console.logins import logged_in

PLAN = "property-classification"
PAGE = f"/rollout/{PLAN}/production/"
HTMX = {"HX-Request": "true"}
ONE_WEBHOOK = {"WEBHOOKS": {"chat": {"URL": "https://chat.example/T0/secret", "SECRET": "s3cret"}}}


def the_rollout() -> Rollout:
    return find_rollout(PLAN, "production")


def browser_of(role: str) -> Client:
    """The browser of somebody who has a role, and its name."""
    user = User.objects.create_user(role)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    return logged_in(user)


def text_of(client: Client, address: str, **query: str) -> str:
    """What a page says; it answers 200."""
    response = client.get(address, query)
    assert response.status_code == 200, response.content
    return with_spaces(response.content.decode())


def with_spaces(text: str) -> str:
    """With plain spaces where a number and its unit stay together in a line."""
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("&nbsp;", " ")


def seen_in(text: str) -> str:
    """The digest of what a page shows, as its form sends it."""
    field = re.search(r'name="seen" value="([^"]*)"', text)
    assert field is not None
    return field[1]


def read(phase: int, **fields: str) -> dict[str, str]:
    """The form of somebody who has read a phase."""
    return {"seen": plans.get(PLAN).digest_of(phase), **fields}


def fragment_of(client: Client, address: str) -> str:
    """What htmx gets from a page's address."""
    response = client.get(address, headers=HTMX)
    assert response.status_code == 200
    return with_spaces(response.content.decode())


def ran(rollout: Rollout, phase: int, state: str = "done", **fields: Any) -> PhaseRun:
    """A run of a phase that took four seconds, or is under way for as long."""
    ended = state in ("done", "failed", "cancelled")
    now = timezone.now()
    values = {
        "actor_name": "grace",
        "plan_digest": plans.get(rollout.plan).digest,
        "started_at": None if state == "queued" else now - timedelta(seconds=4),
        "finished_at": now if ended else None,
        **fields,
    }
    return PhaseRun.objects.create(rollout=rollout, phase=phase, state=state, **values)


def reached(run: PhaseRun, step: str, state: str = "done", **fields: Any) -> StepRun:
    """A step of a run."""
    now = timezone.now()
    values = {
        "position": run.steps.count(),
        "attempts": 1,
        "started_at": now - timedelta(seconds=2),
        "finished_at": None if state == "running" else now,
        **fields,
    }
    return StepRun.objects.create(run=run, step=step, state=state, **values)


def job_of(step: StepRun, **fields: Any) -> BackfillJob:
    """A backfill job, half of whose blocks are done unless it has ended."""
    values = {
        "table": "properties",
        "kind": "fill",
        "position": step.jobs.count(),
        "blocks": 1000,
        "estimated_rows": 25_000,
        "stripes": 8,
        "explanation": "8 stripes: <so many> rows a block.",
        **fields,
    }
    return BackfillJob.objects.create(step_run=step, **values)


def ended_job(step: StepRun, *, seconds: float = 10, **fields: Any) -> BackfillJob:
    """A backfill job that took so long and has just come to its end."""
    now = timezone.now()
    job = job_of(step, finished_at=now, **fields)
    job.created_at = now - timedelta(seconds=seconds)
    job.save(update_fields=["created_at"])
    return job


def audited(rollout: Rollout, status: str = "clean", **fields: Any) -> AuditReport:
    """A full audit of a million rows."""
    now = timezone.now()
    values = {
        "rows": 1_000_000,
        "matched": 1_000_000,
        "categories": {"ok": 1_000_000},
        "plan_digest": "0123456789ab",
        "actor_name": "grace",
        "started_at": now - timedelta(seconds=3),
        "finished_at": None if status == "running" else now,
        **fields,
    }
    return AuditReport.objects.create(rollout=rollout, status=status, **values)


def taken(rollout: Rollout, state: str = "verified", **fields: Any) -> Snapshot:
    """A snapshot of fifty thousand rows, with its evidence."""
    now = timezone.now()
    done = state == "verified"
    values = {
        "actor_name": "grace",
        "plan_digest": "0123456789ab",
        "size": 5_400_000,
        "sha256": "ab" * 32,
        "storage_name": "snapshots/plan/production/1-1-aa.dump",
        "server_version": "18.6",
        "dump_version": "18.6",
        "counts": {"properties": 50_000, "property_types": 12},
        "restored_counts": {"properties": 50_000, "property_types": 12},
        "crosstabs": [
            {
                "table": "properties",
                "legacy_column": "type",
                "column": "property_type_id",
                "cells": [{"legacy": "<House>", "new": "House", "rows": 49_000}],
                "pairs": 31,
                "digest": "x",
            }
        ],
        "contents": ["1; TABLE public properties", "2; TABLE public <types>"],
        "taken_at": now,
        "verified_at": now if done else None,
        "expires_at": now + timedelta(days=30),
        "seconds": 4.2,
        "verify_seconds": 6.3,
        **fields,
    }
    return Snapshot.objects.create(rollout=rollout, state=state, **values)


def reviewed(rollout: Rollout, **fields: Any) -> MappingChange:
    """A review that gave a text of 12 rows another value."""
    change = {"legacy": "Apt", "before": "Apt", "after": "Apartment", "rows": 12, "moved": True}
    values = {
        "table": "properties",
        "legacy_column": "type",
        "reviewer": "grace",
        "at": timezone.now(),
        "changes": [change],
        "rows_affected": 12,
        **fields,
    }
    return MappingChange.objects.create(rollout=rollout, **values)


def signed(
    rollout: Rollout, kind: str = "approval", *, by: str = "grace", phase: int = 3, **fields: Any
) -> SignOff:
    """Something that grace signed just now, of the plan as it is."""
    plan, now = plans.get(rollout.plan), timezone.now()
    values = {
        "actor": User.objects.get_or_create(username=by)[0],
        "actor_name": by,
        "at": now,
        "plan_digest": plan.digest,
        "phase_digest": plan.digest_of(phase),
        "expires_at": now + timedelta(days=1),
        **fields,
    }
    return SignOff.objects.create(rollout=rollout, kind=kind, phase=phase, **values)


def probed(rollout: Rollout) -> None:
    """Every flow of the plan worked just now."""
    for flow in plans.get(rollout.plan).flows:
        FlowProbe.objects.create(
            rollout=rollout, flow=flow, at=timezone.now(), passed=True, message="It works."
        )


def ready_for_phase_1(rollout: Rollout) -> None:
    """Phase 0 is done, and the checklist complete."""
    ran(rollout, 0)
    probed(rollout)
    for item in plans.get(rollout.plan).checklist:
        if type(item) is Item:
            signed(rollout, "tick", phase=0, subject=item.id)


def mismatching(report: AuditReport, key: str, **fields: Any) -> Mismatch:
    values = {
        "table": "properties",
        "column": "property_type_id",
        "category": "wrong",
        "legacy": "Loft",
        "expected": "Loft",
        "actual": "House",
        **fields,
    }
    return Mismatch.objects.create(report=report, key=key, **values)


def noted(rollout: Rollout | None, event: str = "phase started", **fields: Any) -> LogEntry:
    """An entry of the audit log."""
    data = fields.pop("data", {})
    values = {"message": f"It came to: {event}.", "actor": "grace", "source": "web", **fields}
    # A stored event may be of a later version, or anything else.
    return activity_log.record(cast(Event, event), on=rollout, **values, **data)


def delivery(entry: LogEntry, **fields: Any) -> Delivery:
    """An entry on its way to a webhook."""
    values = {
        "channel": "webhook",
        "recipient": "chat",
        "kind": "failed",
        "due_at": timezone.now(),
        **fields,
    }
    return Delivery.objects.create(entry=entry, **values)


def processes_run() -> None:
    """A worker and a watchdog were seen just now."""
    for kind in (heartbeats.WORKER, heartbeats.WATCHDOG):
        Heartbeat.objects.create(name=kind, kind=kind, seen_at=timezone.now())


def made(snapshot: Snapshot, state: str = "gone", **fields: Any) -> Environment:
    """An environment made from a snapshot; there is no database of it."""
    values = {"name": "staging", "actor_name": "grace", "database": "app_staging_1", **fields}
    return Environment.objects.create(
        plan=snapshot.rollout.plan, beside="production", snapshot=snapshot, state=state, **values
    )


def restored(snapshot: Snapshot, state: str = "waiting", **fields: Any) -> Restore:
    """A snapshot that is put back into production, or somewhere else."""
    values = {"rollout": snapshot.rollout, "actor_name": "grace", "reason": "Why not?", **fields}
    return Restore.objects.create(snapshot=snapshot, state=state, **values)


def rehearsed(snapshot: Snapshot, state: str = "passed", **fields: Any) -> Rehearsal:
    """A rehearsal of phases 0 to 4, of which phase 1 was run forward and back."""
    number = Rehearsal.objects.count() + 1
    name = f"rehearsal-{number}"
    now = timezone.now()
    of_environment = {"name": name, "database": f"app_{name}", "purpose": "rehearsal"}
    ended = state in ("passed", "failed", "cancelled")
    sandbox = Rollout.objects.create(plan=snapshot.rollout.plan, environment=name)
    rehearsal = Rehearsal.objects.create(
        rollout=snapshot.rollout,
        snapshot=snapshot,
        environment=made(snapshot, fields.pop("database", "gone"), **of_environment),
        sandbox=sandbox,
        state=state,
        **{
            "actor_name": "grace",
            "plan_digest": plans.get(snapshot.rollout.plan).digest,
            "first_phase": 0,
            "rows": 50_012,
            "started_at": now - timedelta(seconds=41),
            "finished_at": now if ended else None,
            "compared_at": now if ended else None,
            "untouched_rows": 49_900,
            "written_rows": 112,
            "lock_poll_ms": 3.4,
            "longest_lock_ms": 12.5,
            "longest_wait_ms": 88.1,
            "baseline_traffic": {
                "operations": 20,
                "errors": 0,
                "longest_ms": 21.0,
                "durations": {},
            },
            **fields,
        },
    )
    for direction in ("forward", "backward"):
        run = ran(sandbox, 1, direction=direction)
        step = reached(run, "add-property-columns", wal_bytes=81_920, growth={"properties": -8192})
        lock = {"table": "properties", "mode": "AccessExclusiveLock", "times": 2}
        seen = {"operations": 31, "errors": 0, "longest_ms": 88.1, "durations": {"-21": 31}}
        Observation.objects.create(run=run, **seen)
        Observation.objects.create(
            run=run, step_run=step, locks=[{**lock, "held_ms": 12.5, "waited_ms": 3.1}], **seen
        )
    return rehearsal


def acting(rollout: Rollout, rule: str, action: str, verdict: str, **fields: Any) -> RuleState:
    """What the watchdog wrote of a guardrail whose action has begun."""
    now = timezone.now()
    return RuleState.objects.create(
        rollout=rollout,
        rule=rule,
        action=action,
        verdict=verdict,
        acting=True,
        since=now,
        judged_at=now,
        **fields,
    )


def read_out(rollout: Rollout, *, ago: timedelta, wal: float, **more: Any) -> None:
    """A reading of the database, in which so many bytes of WAL were written by then."""
    table = {"table_bytes": 2e6, "index_bytes": 1e6, "live": 900, "dead": 100}
    table |= {"inserts": 0, "updates": 40 * wal, "hot_updates": 30 * wal, "deletes": 0}
    server = {"started": 1.0, "reset": None, "wal_bytes": 1e6 * wal, "connections": 12}
    DatabaseReading.objects.create(
        rollout=rollout,
        at=timezone.now() - ago,
        seconds=10,
        server={**server, "max_connections": 100, "lock_waits": 0, **more},
        tables={"properties": table},
        statements=[{"query": "SELECT <b> $1", "calls": 4, "ms": 100.0, "rows": 4}],
    )


def measured(
    at: datetime, *, ms: float = 10, calls: int = 1, operation: str = "search", **more: Any
) -> None:
    """Write down calls of an operation that each took so long."""
    durations = Histogram()
    for _ in range(calls):
        durations.add(ms / 1000)
    fields = {"seconds": 3, "durations": durations.as_json(), **more}
    Measurement.objects.create(at=at, operation=operation, calls=calls, **fields)


def queries_of(question: Callable[[], object]) -> int:
    """How often a question asks the database; what gates keep for seconds is asked again."""
    gates.invalidate()
    with CaptureQueriesContext(connection) as captured:
        question()
    return len(captured)
