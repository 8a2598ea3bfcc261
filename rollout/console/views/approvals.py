"""The pages on which leads approve a phase or override a gate, and the buttons around them."""

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from rollout import runner
from rollout.console.approvals import approvals_of, requests_of
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.sessions import confirmed_recently, guarded
from rollout.console.http.shortcuts import phase_or_404, sign_off_or_404, status_or_404
from rollout.console.views.phases import confirmation
from rollout.console.views.runs import back, carry_out
from rollout.gates import check_gates
from rollout.journal.labels import gate_label
from rollout.runner.approvals import OVERRIDE_LASTS, SHORTEST_REASON
from rollout.runner.reasons import LONGEST_REASON


@may("approve_rollout")
@confirmed_recently(when=guarded)
@require_http_methods(["GET", "HEAD", "POST"])
def approve(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    if request.method == "POST":
        done = carry_out(
            request,
            lambda: runner.approve(
                status.rollout, number, seen=request.POST.get("seen", ""), actor=request.user
            ),
            f"Phase {number} approved. Another lead can start it now.",
        )
        here = "rollout:rollout" if done else "rollout:approve"
        return redirect(here, plan, environment, *([] if done else [number]))
    evidence = status.evidence.of_phase(number)
    page = {
        **confirmation(status, phase),
        "approvals": approvals_of(evidence),
        "requests": requests_of(evidence),
        "yours": any(
            not approval.void and approval.sign_off.actor_id == request.user.pk
            for approval in approvals_of(evidence)
        ),
    }
    return render(request, "rollout/approve.html", page)


@may("start_rollout")
@require_POST
def ask(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase_or_404(status, number)
    carry_out(
        request,
        lambda: runner.ask_for_approval(status.rollout, number, actor=request.user),
        f"Approval requested for phase {number}. Other leads see it on the rollout's page.",
    )
    return back(request, status.rollout)


@may("override_gate")
@confirmed_recently()
@require_http_methods(["GET", "HEAD", "POST"])
def override(
    request: ConsoleRequest, plan: str, environment: str, number: int, gate: str
) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    name = gate.replace("-", " ")
    answers = list(check_gates(status.evidence.of_phase(number)))
    asked = next((answer for answer in answers if answer.name == name), None)
    reason, refusal = request.POST.get("reason", ""), ""
    if request.method == "POST":
        try:
            runner.override(status.rollout, number, name, reason=reason, actor=request.user)
        except runner.Refused as error:
            refusal = str(error)
        else:
            return redirect("rollout:start", plan, environment, number)
    elif asked is None:
        names = ", ".join(answer.name for answer in answers) or "none"
        raise Http404(f"Phase {number} has no gate “{name}”. Its gates: {names}.")
    page = {
        "rollout": status.rollout,
        "status": status,
        "phase": phase,
        "gate": asked,
        "name": name,
        "reason": reason,
        "refusal": refusal,
        "hours": int(OVERRIDE_LASTS.total_seconds() // 3600),
        "shortest": SHORTEST_REASON,
        "longest": LONGEST_REASON,
    }
    return render(request, "rollout/override.html", page, status=422 if refusal else 200)


@may("override_gate")
@confirmed_recently()
@require_POST
def confirm(request: ConsoleRequest, sign_off_id: int) -> HttpResponse:
    sign_off = sign_off_or_404(sign_off_id)
    carry_out(
        request,
        lambda: runner.confirm_override(sign_off, actor=request.user),
        f"Override of “{gate_label(sign_off.subject)}” by {sign_off.actor_name} confirmed.",
    )
    return back(request, sign_off.rollout)


@may("approve_rollout")
@require_POST
def withdraw(request: ConsoleRequest, sign_off_id: int) -> HttpResponse:
    sign_off = sign_off_or_404(sign_off_id)
    carry_out(
        request,
        lambda: runner.withdraw(sign_off, actor=request.user),
        f"You withdrew {sign_off.actor_name}'s {sign_off.get_kind_display().lower()}.",
    )
    return back(request, sign_off.rollout)
