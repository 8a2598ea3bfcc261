"""The journal: what happened, by whom, with which counts. Only the runner changes a run's state."""

from rollout.models.activity_log import LogCheck, LogEntry
from rollout.models.approvals import FlowProbe, SignOff, SignOffKind
from rollout.models.audits import (
    AuditMode,
    AuditReport,
    AuditStatus,
    Finding,
    FindingState,
    Mismatch,
    MismatchState,
)
from rollout.models.environments import (
    RESTORE_UNDER_WAY,
    RESTORE_WORKING,
    Environment,
    EnvironmentState,
    Restore,
    RestoreState,
)
from rollout.models.guardrails import RuleState, RuleVerdict
from rollout.models.jobs import BackfillEstimate, BackfillJob
from rollout.models.measurements import (
    DatabaseReading,
    Heartbeat,
    Measurement,
    OperationTotal,
    WatchedTime,
)
from rollout.models.notifications import Channel, Delivery, DeliveryState, Outbox, Subscription
from rollout.models.rehearsals import (
    REHEARSAL_UNDER_WAY,
    Observation,
    Rehearsal,
    RehearsalState,
)
from rollout.models.repairs import MappingChange, Repair
from rollout.models.rollouts import Attempted, Leased, Rollout, ScheduledStart, ScheduleState
from rollout.models.runs import (
    ACTIVE,
    WORKING,
    ChainState,
    Direction,
    PhaseRun,
    RollbackChain,
    RunState,
    StepRun,
    StepState,
)
from rollout.models.shadow import ShadowTally
from rollout.models.snapshots import SNAPSHOT_ENDED, SNAPSHOT_UNDER_WAY, Snapshot, SnapshotState
