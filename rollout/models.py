"""The journal: what happened, by whom, with which counts. Only the runner changes a run's state."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q


class RunState(models.TextChoices):
    """The states of a phase run. ``ALLOWED`` in ``rollout.runner`` says which follow which."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    PAUSING = "pausing", "Pausing"
    PAUSED = "paused", "Paused"
    CANCELLING = "cancelling", "Cancelling"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"
    DONE = "done", "Done"


ACTIVE = (
    RunState.QUEUED,
    RunState.RUNNING,
    RunState.PAUSING,
    RunState.PAUSED,
    RunState.CANCELLING,
)
"""States of a run that nobody may start another beside."""
WORKING = (RunState.QUEUED, RunState.RUNNING, RunState.PAUSING, RunState.CANCELLING)
"""Active states in which a worker has something to do: the watchdog keeps an eye on these."""


class Way(models.TextChoices):
    """What a run is for. A repair changes nothing of where its phase stands."""

    FORWARD = "forward", "Forward"
    BACKWARD = "backward", "Rollback"
    REPAIR = "repair", "Repair"


class Rollout(models.Model):
    """A plan in an environment. Where it stands follows from the newest run of each phase."""

    plan = models.CharField(max_length=100)
    environment = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["plan", "environment"], name="rollout_once")]
        permissions = [
            ("audit_rollout", "Can start audits"),
            ("pause_rollout", "Can pause and resume phases"),
            ("start_rollout", "Can start, retry and cancel phases"),
            ("roll_back_rollout", "Can roll phases back"),
            ("review_mapping", "Can decide what legacy values become"),
            ("repair_rows", "Can have mismatched rows put right"),
            ("waive_mismatch", "Can accept a mismatch for a while"),
            ("take_snapshot", "Can take and delete snapshots"),
        ]

    def __str__(self) -> str:
        return f"{self.plan} in {self.environment}"


class Leased(models.Model):
    """Work that one worker at a time holds.

    ``token`` fences: whoever holds the newest one may write, a task with an older one is dropped.
    ``lease_until`` is moved on by the worker that holds the work; past it, it is up for grabs.
    """

    token = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class PhaseRun(Leased):
    """One run of a phase, forward or as its rollback."""

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="runs")
    phase = models.PositiveSmallIntegerField()
    way = models.CharField(max_length=10, choices=Way.choices, default=Way.FORWARD)
    state = models.CharField(max_length=12, choices=RunState.choices, default=RunState.QUEUED)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField(max_length=150)
    plan_digest = models.CharField(max_length=12)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    advice = models.TextField(blank=True)
    """What to do next about the error."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout"], condition=Q(state__in=ACTIVE), name="rollout_one_active_run"
            )
        ]
        indexes = [models.Index(fields=["rollout", "phase", "-id"])]

    def __str__(self) -> str:
        return f"{self.rollout}: phase {self.phase} {self.way} ({self.state})"

    @property
    def active(self) -> bool:
        return self.state in ACTIVE


class StepState(models.TextChoices):
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class StepRun(models.Model):
    """A step within a run; a step that has no row has not been reached."""

    run = models.ForeignKey(PhaseRun, on_delete=models.CASCADE, related_name="steps")
    step = models.CharField(max_length=100)
    position = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=8, choices=StepState.choices, default=StepState.RUNNING)
    attempts = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    actions_done = models.PositiveSmallIntegerField(default=0)
    """How many of the step's actions have come to their end."""
    waiting_for = models.TextField(blank=True)
    """What a running step waits for; empty while it gets on."""
    result = models.TextField(blank=True)
    """One sentence: what was found or counted."""
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["run", "step"], name="rollout_step_once_a_run")
        ]

    def __str__(self) -> str:
        return f"{self.step} ({self.state})"


class BackfillJob(models.Model):
    """A pass over a table. Its lanes and counters live in the target, beside the data.

    The counters here are the totals of a finished job, copied once; a running job's are read from
    the target (``rollout.engine.backfill.progress``).
    """

    step_run = models.ForeignKey(StepRun, on_delete=models.CASCADE, related_name="jobs")
    table = models.CharField(max_length=130)
    kind = models.CharField(max_length=10)
    """fill, clear, restore, compute or repair."""
    position = models.PositiveSmallIntegerField()
    """Which of its step's actions it is."""
    blocks = models.BigIntegerField()
    estimated_rows = models.BigIntegerField()
    stripes = models.PositiveSmallIntegerField()
    explanation = models.TextField()
    """What the planner chose, and why."""
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    scanned = models.BigIntegerField(default=0)
    updated = models.BigIntegerField(default=0)
    already_right = models.BigIntegerField(default=0)
    quarantined = models.BigIntegerField(default=0)
    most_poison_rows = models.BigIntegerField(default=50)
    """How many rows the database may refuse before the job stops."""
    target_ms = models.PositiveIntegerField(default=75)
    """How long a batch should take; may be changed while the job runs, as the next two."""
    duty_percent = models.PositiveSmallIntegerField(default=100)
    """The share of time in which batches run."""
    workers = models.PositiveSmallIntegerField(default=1)
    """How many workers share the lanes."""
    rounds = models.PositiveSmallIntegerField(default=1)
    working_seconds = models.FloatField(default=0)
    """Time in batches, pauses left out."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["step_run", "position"], name="rollout_job_once_an_action"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.table}"


class BackfillEstimate(models.Model):
    """What a pass over a table will cost, tried out before its phase starts and rolled back.

    Without an end it waits for a worker. Of a pass that computes in Python only ``rows`` is known.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="estimates")
    phase = models.PositiveSmallIntegerField()
    step = models.CharField(max_length=100)
    position = models.PositiveSmallIntegerField()
    """Which of its step's actions the pass is."""
    table = models.CharField(max_length=130)
    rows = models.BigIntegerField(null=True)
    seconds = models.FloatField(null=True)
    wal_bytes = models.BigIntegerField(null=True)
    disk_bytes = models.BigIntegerField(null=True)
    """At most so much: what the rows take if none finds room where it was."""
    sampled_rows = models.BigIntegerField(default=0)
    actor_name = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["rollout", "phase", "step", "position", "-id"])]

    def __str__(self) -> str:
        return f"estimate of {self.table} in step {self.step}"


class AuditStatus(models.TextChoices):
    RUNNING = "running", "Running"
    CLEAN = "clean", "Clean"
    MISMATCHED = "mismatched", "Mismatched"
    INCONCLUSIVE = "inconclusive", "Inconclusive"


class AuditMode(models.TextChoices):
    FULL = "full", "Full"
    SAMPLED = "sampled", "Sampled"


class AuditReport(Leased):
    """A full audit of every row, or of a random sample of rows; each table in one snapshot.

    ``categories`` maps a category to its rows; each row counts once, in its worst category, so
    that they add up to ``rows``. ``translations`` holds, for each translation, its own categories
    and its crosstab: [{"table", "column", "legacy_column", "lookup_table",
    "categories": {name: rows}, "cells": [{"legacy": text or null, "new": text or null,
    "category": name, "rows": count}]}].
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="audits")
    run = models.ForeignKey(PhaseRun, null=True, on_delete=models.SET_NULL, related_name="audits")
    status = models.CharField(
        max_length=12, choices=AuditStatus.choices, default=AuditStatus.RUNNING
    )
    mode = models.CharField(max_length=10, choices=AuditMode.choices, default=AuditMode.FULL)
    scheduled = models.BooleanField(default=False)
    """Whether the plan's schedule asked for it, rather than a person or a phase."""
    tables: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """Labels of the tables that it is confined to; empty for all."""
    rows = models.BigIntegerField(default=0)
    """Rows compared."""
    matched = models.BigIntegerField(default=0)
    mismatched = models.BigIntegerField(default=0)
    """Rows that mismatch, waived ones included."""
    waived = models.BigIntegerField(default=0)
    transient = models.BigIntegerField(default=0)
    """Rows that differed in the snapshot and were right a moment later: they count as matched."""
    categories: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    translations: models.JSONField[Any, Any] = models.JSONField(default=list)
    stored_mismatches = models.PositiveIntegerField(default=0)
    message = models.TextField(blank=True)
    """Why an audit is inconclusive."""

    seed = models.BigIntegerField(null=True)
    """Of a sample: the same seed picks the same rows again."""
    population = models.BigIntegerField(null=True)
    """Of a sample: how many rows there are in total."""
    confidence = models.FloatField(null=True)
    upper_rate = models.FloatField(null=True)
    """Of a sample: with that confidence no larger share of all rows mismatches."""

    blocks = models.BigIntegerField(default=0)
    blocks_done = models.BigIntegerField(default=0)
    waiting_for = models.TextField(blank=True)

    plan_digest = models.CharField(max_length=12)
    mapping_digest = models.CharField(max_length=12, blank=True)
    """Of every mapping and lookup row that values were compared by."""
    sql_digest = models.CharField(max_length=12, blank=True)
    snapshot = models.CharField(max_length=200, blank=True)
    """PostgreSQL's snapshot, and the WAL position beside it."""
    code_version = models.CharField(max_length=40, blank=True)
    direction = models.CharField(max_length=10, default="forward")
    """forward: the legacy text is right; reverse: the new value is; archive: the text is gone."""
    database = models.CharField(max_length=100, blank=True)
    """The database alias that was read."""
    actor_name = models.CharField(max_length=150)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["rollout", "mode", "-id"])]

    def __str__(self) -> str:
        return f"audit {self.pk} of {self.rollout}: {self.status}"


class FindingState(models.TextChoices):
    OPEN = "open", "Open"
    REPAIRED = "repaired", "Repaired"


class Finding(models.Model):
    """A row's mismatch in one column, through all the reports that looked at it."""

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="findings")
    table = models.CharField(max_length=130)
    key = models.TextField()
    column = models.CharField(max_length=63)
    category = models.CharField(max_length=20)
    state = models.CharField(max_length=10, choices=FindingState.choices, default=FindingState.OPEN)
    first_report = models.ForeignKey(
        AuditReport, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    last_report = models.ForeignKey(
        AuditReport, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    """The newest report that found it."""
    repaired_report = models.ForeignKey(
        AuditReport, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    """The newest report that found the row right again."""
    regressions = models.PositiveIntegerField(default=0)
    """How often it came back after it was right: a sign of a wrong write path."""
    waived_by = models.CharField(max_length=150, blank=True)
    waived_reason = models.TextField(blank=True)
    waived_at = models.DateTimeField(null=True)
    waived_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout", "table", "key", "column"], name="rollout_finding_once"
            )
        ]
        indexes = [models.Index(fields=["rollout", "state", "-id"])]

    def __str__(self) -> str:
        return f"{self.table} {self.key} {self.column}: {self.state}"


class MismatchState(models.TextChoices):
    NEW = "new", "New"
    PERSISTING = "persisting", "Persisting"
    REGRESSED = "regressed", "Regressed"
    WAIVED = "waived", "Waived"


class Mismatch(models.Model):
    """A row that a report found not to be what it should be, in one of its translations."""

    report = models.ForeignKey(AuditReport, on_delete=models.CASCADE, related_name="found")
    finding = models.ForeignKey(
        Finding, null=True, on_delete=models.SET_NULL, related_name="mismatches"
    )
    state = models.CharField(
        max_length=10, choices=MismatchState.choices, default=MismatchState.NEW
    )
    """What it was to the reports before."""
    table = models.CharField(max_length=130)
    key = models.TextField()
    """The primary key; the parts of a composite one are joined by a comma."""
    key_parts: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """The texts of the key's columns."""
    column = models.CharField(max_length=63)
    category = models.CharField(max_length=20)
    legacy = models.TextField(null=True)
    expected = models.TextField(null=True)
    actual = models.TextField(null=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["report", "column", "category", "id"])]

    def __str__(self) -> str:
        return f"{self.table} {self.key}: {self.category}"


class MappingChange(models.Model):
    """A review of legacy values that somebody applied to a lookup's mapping.

    ``changes`` is a list of {"legacy": text, "before": lookup name or null, "after": lookup name or
    null (no value), "rows": how many rows had the text then}.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="mapping_changes")
    table = models.CharField(max_length=130)
    legacy_column = models.CharField(max_length=63)
    reviewer = models.CharField(max_length=150)
    at = models.DateTimeField()
    changes: models.JSONField[list[dict[str, Any]], list[dict[str, Any]]] = models.JSONField(
        default=list
    )
    rows_affected = models.BigIntegerField(default=0)
    """Filled rows whose value was another than the mapping says from then on."""

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["rollout", "-id"])]

    def __str__(self) -> str:
        return f"{len(self.changes)} values of {self.table}.{self.legacy_column}"


class Repair(models.Model):
    """What a run of the way "repair" puts right, beside what was found before it.

    ``selection`` is {"columns": [...], "categories": [...], "legacy": [texts] or null,
    "keys": [[key texts], ...] or null}: rows are those that meet all that is given.
    ``examples`` are rows as they were: [{"key", "column", "legacy", "before", "after"}].
    """

    run = models.OneToOneField(PhaseRun, on_delete=models.CASCADE, related_name="repair")
    report = models.ForeignKey(
        AuditReport, null=True, on_delete=models.SET_NULL, related_name="repairs"
    )
    change = models.ForeignKey(
        MappingChange, null=True, on_delete=models.SET_NULL, related_name="repairs"
    )
    table = models.CharField(max_length=130)
    selection: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    rows_expected = models.BigIntegerField(default=0)
    rows_repaired = models.BigIntegerField(null=True)
    before: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    """Categories to rows, before."""
    after: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    examples: models.JSONField[list[dict[str, Any]], list[dict[str, Any]]] = models.JSONField(
        default=list
    )

    def __str__(self) -> str:
        return f"repair of {self.table}"


class LogEntry(models.Model):
    """The audit log. Append-only by trigger; each entry's hash covers the one before it."""

    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    source = models.CharField(max_length=20)
    """web, shell, worker or watchdog."""
    plan = models.CharField(max_length=100, blank=True)
    environment = models.CharField(max_length=100, blank=True)
    phase = models.PositiveSmallIntegerField(null=True)
    event = models.CharField(max_length=40)
    message = models.TextField()
    data: models.JSONField[dict[str, Any], dict[str, Any]] = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["plan", "environment", "-id"])]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.event}: {self.message}"


class Heartbeat(models.Model):
    """When each worker and watchdog was last seen at work."""

    name = models.CharField(max_length=200, unique=True)
    """host:pid"""
    kind = models.CharField(max_length=10)
    """worker or watchdog."""
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["-seen_at"]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} at {self.seen_at:%H:%M:%S}"


class Measurement(models.Model):
    """What the calls of one operation in one process and interval add up to."""

    at = models.DateTimeField()
    """When the interval began."""
    seconds = models.PositiveIntegerField()
    """How long it was."""
    operation = models.CharField(max_length=100)
    read_mode = models.CharField(max_length=10, blank=True)
    write_mode = models.CharField(max_length=10, blank=True)
    process = models.CharField(max_length=200, blank=True)
    """host:pid; empty where the processes are added up."""
    calls = models.PositiveIntegerField()
    errors = models.PositiveIntegerField(default=0)
    queries = models.PositiveIntegerField(default=0)
    database_seconds = models.FloatField(default=0)
    durations: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    """Buckets of ``rollout.telemetry.histogram`` to counts."""

    class Meta:
        ordering = ["at"]
        indexes = [models.Index(fields=["at", "operation"])]

    def __str__(self) -> str:
        return f"{self.operation} at {self.at:%Y-%m-%d %H:%M:%S}: {self.calls}"


class SnapshotState(models.TextChoices):
    TAKING = "taking", "Taking"
    TAKEN = "taken", "Taken, not verified yet"
    VERIFYING = "verifying", "Verifying"
    VERIFIED = "verified", "Verified"
    FAILED = "failed", "Failed"
    DELETED = "deleted", "Deleted"


SNAPSHOT_UNDER_WAY = (SnapshotState.TAKING, SnapshotState.TAKEN, SnapshotState.VERIFYING)


class Snapshot(Leased):
    """A dump of the plan's tables, and what it held by the server's own word.

    Only a verified one counts: it was restored elsewhere and found to hold just that. ``crosstabs``
    is [{"table", "legacy_column", "column", "cells": [{"legacy": text or null, "new": name or null,
    "rows"}], "pairs": how many there are, "digest": of all of them}].
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="snapshots")
    run = models.ForeignKey(
        PhaseRun, null=True, on_delete=models.SET_NULL, related_name="snapshots"
    )
    state = models.CharField(
        max_length=10, choices=SnapshotState.choices, default=SnapshotState.TAKING
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    """How often a worker began with it."""
    doing = models.TextField(blank=True)
    """What the work on it is at; empty when there is none."""
    actor_name = models.CharField(max_length=150)
    plan_digest = models.CharField(max_length=12)
    phases: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """How each phase stood: done, begun or untouched."""

    storage_name = models.CharField(max_length=300, blank=True)
    size = models.BigIntegerField(default=0)
    """Bytes; grows while it is being taken."""
    sha256 = models.CharField(max_length=64, blank=True)
    server_version = models.CharField(max_length=100, blank=True)
    dump_version = models.CharField(max_length=100, blank=True)
    system_identifier = models.CharField(max_length=20, blank=True)
    """Of the server's cluster: tells one server from another that looks the same."""
    lsn = models.CharField(max_length=20, blank=True)
    exported_snapshot = models.CharField(max_length=100, blank=True)
    """PostgreSQL's snapshot that dump, counts and crosstabs all read."""
    counts: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(default=dict)
    """Tables to rows."""
    crosstabs: models.JSONField[Any, Any] = models.JSONField(default=list)
    prerequisites: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """SQL of what its tables need and a dump of tables leaves out: types, trigger functions."""
    left_out: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """What a restore leaves out: foreign keys to tables that are not in it."""
    contents: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """Its table of contents, as pg_restore lists it."""

    restored_counts: models.JSONField[dict[str, int], dict[str, int]] = models.JSONField(
        default=dict
    )
    differences: models.JSONField[list[str], list[str]] = models.JSONField(default=list)
    """What the restored copy has otherwise, a sentence each."""

    created_at = models.DateTimeField(auto_now_add=True)
    taken_at = models.DateTimeField(null=True)
    """The moment whose data it holds."""
    seconds = models.FloatField(null=True)
    """How long the dump took."""
    verify_seconds = models.FloatField(null=True)
    verified_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    """When the plan no longer asks for it."""
    deleted_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    advice = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout"],
                condition=Q(state__in=SNAPSHOT_UNDER_WAY),
                name="rollout_one_snapshot_under_way",
            )
        ]
        indexes = [models.Index(fields=["rollout", "state", "-id"])]

    def __str__(self) -> str:
        return f"snapshot {self.pk} of {self.rollout}: {self.state}"

    @property
    def under_way(self) -> bool:
        return self.state in SNAPSHOT_UNDER_WAY
