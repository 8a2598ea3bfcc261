"""One press for all that a phase still needs and that is not a person's own part."""

from django.contrib import messages
from django.http import HttpResponse
from django.views.decorators.http import require_POST

from rollout import runner
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import phase_or_404, status_or_404
from rollout.console.views.runs import redirect_back
from rollout.journal.environments import home_of
from rollout.journal.labels import preparation_label
from rollout.permissions import allowed_in


@may("take_snapshot")
@require_POST
def prepare(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase_or_404(status, number)
    home = home_of(environment)
    prepared = runner.prepare(
        status.rollout,
        number,
        allowed=lambda permission: allowed_in(request.user, permission, home),
        actor=request.user,
    )
    for refusal in prepared.refused:
        messages.error(request, refusal)
    if prepared.done:
        words = "; ".join(preparation_label(action) for action in prepared.done)
        messages.success(request, f"Requested: {words}. The gates follow as each finishes.")
    elif not prepared.refused:
        messages.info(request, "Nothing to prepare: what is open needs a person or time.")
    return redirect_back(request, status.rollout)
