"""The CSV files of a phase's steps: upload one, remove it."""

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from rollout import runner
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import plan_or_404, rollout_or_404
from rollout.console.views.runs import perform
from rollout.engine.csv_files import Upload
from rollout.logs.texts import counted
from rollout.plan.csv_tasks import RunCsvTask, csv_steps
from rollout.plan.plan import Plan
from rollout.queries.csv_uploads import MAX_BYTES
from rollout.queries.mapping_csv import InvalidMappingFile


@may("start_rollout")
@require_POST
def upload(
    request: ConsoleRequest, plan: str, environment: str, number: int, step: str
) -> HttpResponse:
    named = _step_or_404(plan_or_404(plan, environment, number), number, step)
    rollout, file = rollout_or_404(plan, environment), request.FILES.get("file")
    if not isinstance(file, UploadedFile):
        messages.error(request, "No file was sent. Choose a CSV file first.")
        return redirect("rollout:phase", plan, environment, number)
    data, name = file.read(MAX_BYTES + 1), file.name or "a file"
    try:
        perform(
            request,
            lambda: runner.upload_csv(rollout, number, named, data, name=name, actor=request.user),
            _uploaded,
        )
    except InvalidMappingFile as error:
        messages.error(request, f"Not uploaded, and nothing was changed. {error}")
    return redirect("rollout:phase", plan, environment, number)


def _uploaded(upload: Upload) -> str:
    return f"Uploaded {upload.name}: {counted(upload.rows, 'row')}, SHA-256 {upload.sha256[:12]}…"


@may("start_rollout")
@require_POST
def remove(
    request: ConsoleRequest, plan: str, environment: str, number: int, step: str
) -> HttpResponse:
    named = _step_or_404(plan_or_404(plan, environment, number), number, step)
    rollout = rollout_or_404(plan, environment)
    perform(
        request,
        lambda: runner.remove_csv(rollout, number, named, actor=request.user),
        "The file and its rows are removed.",
    )
    return redirect("rollout:phase", plan, environment, number)


def _step_or_404(plan: Plan, number: int, step_id: str) -> RunCsvTask:
    steps = csv_steps(plan, number)
    for step in steps:
        if step.id == step_id:
            return step
    known = ", ".join(step.id for step in steps) or "none"
    raise Http404(
        f"No step '{step_id}' of phase {number} takes a CSV file. Those that do: {known}."
    )
