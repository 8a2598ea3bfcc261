"""A backfill's page."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console.access import ConsoleRequest, may
from rollout.console.fetch import job_or_404
from rollout.heartbeats import liveness
from rollout.models import WORKING
from rollout.progress import progress_of


@may("view_rollout")
@require_safe
def job(request: ConsoleRequest, job_id: int) -> HttpResponse:
    job = job_or_404(job_id)
    run = job.step_run.run
    page = {
        "job": job,
        "run": run,
        "rollout": run.rollout,
        "progress": progress_of(job),
        "liveness": liveness(),
        "live": job.finished_at is None and run.state in WORKING,
    }
    return render(request, f"rollout/{'job_live' if request.htmx else 'job'}.html", page)
