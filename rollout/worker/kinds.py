"""The kinds of leased work: the watchdog recovers what no worker holds."""

from typing import Any

from rollout.worker.audits import AuditJob
from rollout.worker.leased_jobs import LeasedJob
from rollout.worker.rehearsals import RehearsalJob
from rollout.worker.restores import RestoreJob
from rollout.worker.runs import RunJob
from rollout.worker.snapshots import SnapshotJob

KINDS: tuple[type[LeasedJob[Any]], ...] = (
    RunJob,
    AuditJob,
    SnapshotJob,
    RestoreJob,
    RehearsalJob,
)
