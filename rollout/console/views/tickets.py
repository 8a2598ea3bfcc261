"""The change ticket of a phase: all that somebody who approves it reads, on paper too."""

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from rollout.console.approvals import answered_of, approvals_of, requests_of
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.shortcuts import phase_or_404, status_or_404
from rollout.console.views.phases import confirmation
from rollout.journal.labels import gate_label
from rollout.models import Direction
from rollout.queries.rehearsals import forecast_of


@may("view_rollout")
@require_safe
def ticket(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    evidence = status.evidence.of_phase(number)
    page = {
        **confirmation(status, phase),
        "rollback_rehearsed": forecast_of(status.rehearsal, number, Direction.BACKWARD),
        # That with which it started stands for as long as the phase is done.
        "approvals": [
            approval
            for approval in approvals_of(evidence)
            if not approval.void or (phase.run and approval.sign_off.run_id == phase.run.pk)
        ],
        # The phase that is due has its gates answered; of others they are named.
        "gate_names": [gate_label(gate.name) for gate in evidence.gates],
        "requests": requests_of(evidence) or answered_of(evidence),
        "schedule": status.rollout.scheduled,
        "made_at": timezone.now(),
        "on_ticket": True,
    }
    return render(request, "rollout/ticket.html", page)
