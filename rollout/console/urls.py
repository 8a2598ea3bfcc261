"""The console's addresses. A plan's and an environment's names are part of them."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import URLPattern, URLResolver, include, path

from rollout.console.http import sessions
from rollout.console.views import (
    activity,
    approvals,
    audit_comparisons,
    audits,
    blockers,
    checklists,
    csv_files,
    documents,
    downloads,
    environments,
    findings,
    headers,
    jobs,
    leftovers,
    mappings,
    monitoring,
    notifications,
    phases,
    preflights,
    preparations,
    rehearsals,
    repairs,
    rollouts,
    runs,
    scheduled_starts,
    schemas,
    shadow_reads,
    snapshots,
    styles,
    tickets,
    value_decisions,
)

app_name = "rollout"

Addresses = list[URLPattern | URLResolver]

_lookup: Addresses = [
    path("", mappings.review, name="mapping"),
    path("new/", mappings.new_values, name="mapping_new"),
    path("preview/", mappings.preview, name="mapping_preview"),
    path("apply/", mappings.apply, name="mapping_apply"),
    path("export.csv", mappings.download, name="mapping_csv"),
]

_conversion: Addresses = [
    path("", value_decisions.values, name="values"),
    path("preview/", value_decisions.preview, name="values_preview"),
    path("decide/", value_decisions.decide, name="decide_values"),
    path("export.csv", value_decisions.download, name="values_csv"),
]

_phase: Addresses = [
    path("", phases.phase, name="phase"),
    path("start/", phases.start, name="start"),
    path("roll-back/", phases.roll_back, name="roll_back"),
    path("estimate/", phases.estimate, name="estimate"),
    path("preflight/", preflights.preflight, name="preflight"),
    path("roll-back/locks/", preflights.rollback_locks, name="rollback_locks"),
    path("second-run/", preflights.rerun, name="rerun"),
    path("schedule/", scheduled_starts.schedule, name="schedule"),
    path("prepare/", preparations.prepare, name="prepare"),
    path("approval/", approvals.approve, name="approve"),
    path("ask-for-approval/", approvals.ask, name="ask_for_approval"),
    path("override/<slug:gate>/", approvals.override, name="override"),
    path("forward.sql", downloads.script, {"direction": "forward"}, name="forward_script"),
    path("rollback.sql", downloads.script, {"direction": "rollback"}, name="rollback_script"),
    path("csv/<str:step>/upload/", csv_files.upload, name="upload_csv"),
    path("csv/<str:step>/remove/", csv_files.remove, name="remove_csv"),
    path("ticket/", tickets.ticket, name="ticket"),
    path("types.ts", downloads.types, name="types"),
]

_rollout: Addresses = [
    path("", rollouts.rollout, name="rollout"),
    path("header/", headers.header, name="header"),
    path("activity/", activity.of_rollout, name="activity"),
    path("activity/export.csv", activity.export_of_rollout, {"form": "csv"}, name="activity_csv"),
    path(
        *("activity/export.jsonl", activity.export_of_rollout, {"form": "jsonl"}),
        name="activity_json",
    ),
    path("activity/<int:entry_id>/", activity.entry_of_rollout, name="activity-entry"),
    path("phases/<int:number>/", include(_phase)),
    # The run that is active, or that stopped.
    path("pause/", runs.pause, name="pause"),
    path("resume/", runs.resume, name="resume"),
    path("cancel-run/", runs.cancel, name="cancel"),
    path("retry/", runs.retry, name="retry"),
    path("cancel-rollback/", phases.cancel_chain, name="cancel_chain"),
    path("blockers/<int:pid>/", blockers.blocker, name="blocker"),
    # Before a phase.
    path("readiness/", preflights.readiness, name="readiness"),
    path("checklist/<str:item>/", checklists.tick, name="tick"),
    path("probe/", checklists.probe, name="probe"),
    path("unschedule/", scheduled_starts.unschedule, name="unschedule"),
    path("stage/", environments.stage, name="stage"),
    # Lists, and what is shown of the application and its database.
    path("audits/", audits.audits, name="audits"),
    path("jobs/", jobs.jobs, name="jobs"),
    path("snapshots/", snapshots.snapshots, name="snapshots"),
    path("rehearsals/", rehearsals.rehearsals, name="rehearsals"),
    path("schema/", schemas.schema, name="schema"),
    path("leftovers/", leftovers.leftovers, name="leftovers"),
    path("mappings/", mappings.mappings, name="mappings"),
    path("mappings/<str:table>/<str:column>/", include(_lookup)),
    path("values/<str:table>/<str:column>/", include(_conversion)),
    path("monitoring/", monitoring.monitoring, name="monitoring"),
    path("shadow/", shadow_reads.share, name="shadow"),
    path("rules/<str:rule_id>/release/", monitoring.release, name="release_rule"),
]

_job: Addresses = [
    path("", jobs.job, name="job"),
    path("pace/", jobs.pace, name="pace"),
    path("retry-quarantined/", jobs.retry_quarantined, name="retry_quarantined"),
]

_audit: Addresses = [
    path("", audits.audit, name="audit"),
    path("compare/<int:other_id>/", audit_comparisons.compare, name="compare"),
    path("pairs.csv", downloads.pairs, name="pairs_csv"),
    path("export.csv", downloads.export, {"form": "csv"}, name="export_csv"),
    path("export.json", downloads.export, {"form": "json"}, name="export_json"),
    path("repair/", repairs.repair, name="repair"),
]

_finding: Addresses = [
    path("", findings.finding, name="finding"),
    path("waive/", findings.waive, name="waive"),
    path("unwaive/", findings.unwaive, name="unwaive"),
]

_snapshot: Addresses = [
    path("", snapshots.snapshot, name="snapshot"),
    path("verify/", snapshots.verify, name="verify_snapshot"),
    path("cancel/", snapshots.cancel, name="cancel_snapshot"),
    path("delete/", snapshots.delete, name="delete_snapshot"),
    path("restore/", environments.restore, name="restore"),
]

_rehearsal: Addresses = [
    path("", rehearsals.rehearsal, name="rehearsal"),
    path("cancel/", rehearsals.cancel, name="cancel_rehearsal"),
    path("drop/", rehearsals.drop, name="drop_rehearsal"),
]

_notifications: Addresses = [
    path("", notifications.notifications, name="notifications"),
    path("webhooks/<str:name>/choose/", notifications.choose, name="choose_webhook"),
    path("webhooks/<str:name>/test/", notifications.try_out, name="try_webhook"),
    path("deliveries/<int:delivery_id>/resend/", notifications.resend, name="resend"),
]

# For a project that has no such pages of its own; see access.login_url.
_login = LoginView.as_view(template_name="rollout/login.html", next_page="rollout:overview")
_logout = LogoutView.as_view(next_page="rollout:overview")

urlpatterns: Addresses = [
    path("", rollouts.overview, name="overview"),
    path("inbox/", headers.inbox, name="inbox"),
    path("log/", activity.log, name="log"),
    path("log/export.csv", activity.export, {"form": "csv"}, name="log_csv"),
    path("log/export.jsonl", activity.export, {"form": "jsonl"}, name="log_json"),
    path("log/verify/", activity.verify, name="verify_log"),
    path("log/<int:entry_id>/", activity.entry, name="log-entry"),
    path("find/", headers.find, name="find"),
    path("glossary/", documents.glossary, name="glossary"),
    path("runbook/", documents.runbook, name="runbook"),
    path("style/", styles.parts, name="style"),
    path("theme/", styles.theme, name="theme"),
    path("guide/", styles.guide, name="guide"),
    path("confirm/", sessions.confirm, name="confirm"),
    path("login/", _login, name="login"),
    path("logout/", _logout, name="logout"),
    path("notifications/", include(_notifications)),
    path("jobs/<int:job_id>/", include(_job)),
    path("audits/<int:audit_id>/", include(_audit)),
    path("findings/<int:finding_id>/", include(_finding)),
    path("snapshots/<int:snapshot_id>/", include(_snapshot)),
    path("rehearsals/<int:rehearsal_id>/", include(_rehearsal)),
    path("mapping-changes/<int:change_id>/correct/", mappings.correct, name="correct"),
    path("sign-offs/<int:sign_off_id>/agree/", approvals.confirm, name="confirm_override"),
    path("sign-offs/<int:sign_off_id>/remind/", approvals.remind, name="remind"),
    path("sign-offs/<int:sign_off_id>/withdraw/", approvals.withdraw, name="withdraw"),
    path("restores/<int:restore_id>/approve/", environments.approve, name="approve_restore"),
    path("restores/<int:restore_id>/cancel/", environments.cancel, name="cancel_restore"),
    path("environments/<int:environment_id>/drop/", environments.drop, name="drop_environment"),
    path("<str:plan>/<str:environment>/", include(_rollout)),
]
