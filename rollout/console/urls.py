"""The console's addresses. A plan's and an environment's names are part of them."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import URLPattern, URLResolver, include, path

from rollout.console import (
    audits,
    blockers,
    comparing,
    downloads,
    findings,
    jobs,
    log,
    mappings,
    monitoring,
    notifications,
    phases,
    preflights,
    repairs,
    rollouts,
    rules,
    schema,
    sessions,
    shadow,
    snapshots,
    staging,
    style,
    verbs,
    words,
)

app_name = "rollout"

of_a_lookup: list[URLPattern | URLResolver] = [
    path("", mappings.review, name="mapping"),
    path("new/", mappings.new_values, name="mapping_new"),
    path("preview/", mappings.preview, name="mapping_preview"),
    path("apply/", mappings.apply, name="mapping_apply"),
    path("export.csv", mappings.download, name="mapping_csv"),
]

of_a_rollout: list[URLPattern | URLResolver] = [
    path("", rollouts.rollout, name="rollout"),
    path("phases/<int:number>/", phases.phase, name="phase"),
    path("phases/<int:number>/start/", phases.start, name="start"),
    path("phases/<int:number>/preflight/", preflights.preflight, name="preflight"),
    path("phases/<int:number>/roll-back/locks/", preflights.rollback_locks, name="rollback_locks"),
    path("schema/", schema.schema, name="schema"),
    path("phases/<int:number>/estimate/", phases.estimate, name="estimate"),
    path("phases/<int:number>/roll-back/", phases.roll_back, name="roll_back"),
    path("pause/", verbs.pause, name="pause"),
    path("resume/", verbs.resume, name="resume"),
    path("cancel/", verbs.cancel, name="cancel"),
    path("retry/", verbs.retry, name="retry"),
    path("blockers/<int:pid>/", blockers.blocker, name="blocker"),
    path("audits/", audits.audits, name="audits"),
    path("snapshots/", snapshots.snapshots, name="snapshots"),
    path("stage/", staging.stage, name="stage"),
    path("monitoring/", monitoring.monitoring, name="monitoring"),
    path("mappings/", mappings.mappings, name="mappings"),
    path("mappings/<str:table>/<str:column>/", include(of_a_lookup)),
    path("shadow/", shadow.share, name="shadow"),
    path("rules/<str:rule_id>/release/", rules.release, name="release_rule"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", rollouts.overview, name="overview"),
    path("log/", log.log, name="log"),
    path("glossary/", words.glossary, name="glossary"),
    path("notifications/", notifications.notifications, name="notifications"),
    path("notifications/webhooks/<str:name>/choose/", notifications.choose, name="choose_webhook"),
    path("notifications/webhooks/<str:name>/test/", notifications.try_out, name="try_webhook"),
    path("notifications/deliveries/<int:delivery_id>/resend/", notifications.resend, name="resend"),
    path("theme/", style.theme, name="theme"),
    path("style/", style.parts, name="style"),
    path("confirm/", sessions.confirm, name="confirm"),
    # For a project that has no such page of its own; see access.login_url.
    path(
        "login/",
        LoginView.as_view(template_name="rollout/login.html", next_page="rollout:overview"),
        name="login",
    ),
    path("logout/", LogoutView.as_view(next_page="rollout:overview"), name="logout"),
    path("jobs/<int:job_id>/", jobs.job, name="job"),
    path("jobs/<int:job_id>/pace/", jobs.pace, name="pace"),
    path("jobs/<int:job_id>/retry-quarantined/", jobs.retry_quarantined, name="retry_quarantined"),
    path("audits/<int:audit_id>/", audits.audit, name="audit"),
    path("audits/<int:audit_id>/compare/<int:other_id>/", comparing.compare, name="compare"),
    path("audits/<int:audit_id>/export.csv", downloads.export, {"form": "csv"}, name="export_csv"),
    path(
        "audits/<int:audit_id>/export.json", downloads.export, {"form": "json"}, name="export_json"
    ),
    path("audits/<int:audit_id>/repair/", repairs.repair, name="repair"),
    path("findings/<int:finding_id>/", findings.finding, name="finding"),
    path("findings/<int:finding_id>/waive/", findings.waive, name="waive"),
    path("findings/<int:finding_id>/unwaive/", findings.unwaive, name="unwaive"),
    path("mapping-changes/<int:change_id>/correct/", mappings.correct, name="correct"),
    path("snapshots/<int:snapshot_id>/", snapshots.snapshot, name="snapshot"),
    path("snapshots/<int:snapshot_id>/verify/", snapshots.verify, name="verify_snapshot"),
    path("snapshots/<int:snapshot_id>/cancel/", snapshots.cancel, name="cancel_snapshot"),
    path("snapshots/<int:snapshot_id>/delete/", snapshots.delete, name="delete_snapshot"),
    path("snapshots/<int:snapshot_id>/restore/", staging.restore, name="restore"),
    path("restores/<int:restore_id>/approve/", staging.approve, name="approve_restore"),
    path("restores/<int:restore_id>/cancel/", staging.cancel, name="cancel_restore"),
    path("environments/<int:environment_id>/drop/", staging.drop, name="drop_environment"),
    path("<str:plan>/<str:environment>/", include(of_a_rollout)),
]
