"""The console's addresses. A plan's and an environment's names are part of them."""

from django.urls import URLPattern, URLResolver, include, path

from rollout.console import audits, jobs, log, monitoring, phases, rollouts, verbs

app_name = "rollout"

of_a_rollout = [
    path("", rollouts.rollout, name="rollout"),
    path("phases/<int:number>/", phases.phase, name="phase"),
    path("phases/<int:number>/start/", phases.start, name="start"),
    path("phases/<int:number>/estimate/", phases.estimate, name="estimate"),
    path("phases/<int:number>/roll-back/", phases.roll_back, name="roll_back"),
    path("pause/", verbs.pause, name="pause"),
    path("resume/", verbs.resume, name="resume"),
    path("cancel/", verbs.cancel, name="cancel"),
    path("retry/", verbs.retry, name="retry"),
    path("audits/", audits.audits, name="audits"),
    path("monitoring/", monitoring.monitoring, name="monitoring"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", rollouts.overview, name="overview"),
    path("log/", log.log, name="log"),
    path("jobs/<int:job_id>/", jobs.job, name="job"),
    path("jobs/<int:job_id>/pace/", jobs.pace, name="pace"),
    path("jobs/<int:job_id>/retry-quarantined/", jobs.retry_quarantined, name="retry_quarantined"),
    path("audits/<int:audit_id>/", audits.audit, name="audit"),
    path("<str:plan>/<str:environment>/", include(of_a_rollout)),
]
