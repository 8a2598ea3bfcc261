"""The verbs of people: each checks, writes the journal and queues the work."""

from rollout.journal.actors import Refused
from rollout.runner.adoptions import adopt
from rollout.runner.approvals import (
    approve,
    ask_for_approval,
    confirm_override,
    override,
    reject,
    tick,
    untick,
)
from rollout.runner.audits import refusal_to_audit, start_audit
from rollout.runner.blockers import blocked_step, end_blocker, refusal_to_end
from rollout.runner.csv_files import remove_csv, upload_csv
from rollout.runner.environments import drop_environment
from rollout.runner.guardrails import release
from rollout.runner.jobs import retry_quarantined, set_pace
from rollout.runner.manual_rollbacks import recognise
from rollout.runner.mappings import (
    ReviewPreview,
    preview_review,
    refusal_to_review,
    review_mapping,
)
from rollout.runner.phases import cancel, pause, resume, retry, roll_back, start
from rollout.runner.preparations import ask_to_probe, prepare
from rollout.runner.reasons import PhaseChanged
from rollout.runner.rehearsals import (
    UnderLoad,
    cancel_rehearsal,
    drop_database,
    refusal_to_rehearse,
    rehearse,
)
from rollout.runner.reminders import remind
from rollout.runner.repairs import (
    RepairPreview,
    correct,
    preview_correction,
    preview_repair,
    repair,
)
from rollout.runner.restores import approve_restore, cancel_restore, make_staging, restore_snapshot
from rollout.runner.rollback_chains import cancel_chain, roll_back_to
from rollout.runner.scheduled_starts import schedule_start, unschedule
from rollout.runner.shadow_rates import set_shadow_percent
from rollout.runner.snapshots import (
    cancel_snapshot,
    delete_snapshot,
    take_snapshot,
    verify_snapshot,
)
from rollout.runner.sql_files import accept_files
from rollout.runner.value_decisions import decide_values, preview_decisions
from rollout.runner.waivers import unwaive, waive
from rollout.runner.withdrawals import withdraw
