"""The pages on which leads approve a phase or override a gate, and the buttons around them."""

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from rollout import runner
from rollout.console.approvals import approvals_of, rejections_of, requests_of
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.sessions import confirmed_recently, field_sent, guarded
from rollout.console.http.shortcuts import phase_or_404, sign_off_or_404, status_or_404
from rollout.console.views.phases import confirmation
from rollout.console.views.runs import perform, redirect_back
from rollout.gates import check_gates
from rollout.journal.labels import gate_label
from rollout.queries.data_safety import data_safety_of
from rollout.runner.approvals import OVERRIDE_LASTS, SHORTEST_REASON
from rollout.runner.reasons import LONGEST_REASON


@may("approve_rollout")
@confirmed_recently(when=guarded, has_form=True)
@require_http_methods(["GET", "HEAD", "POST"])
def approve(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    if request.method == "POST":
        seen, comment = request.POST.get("seen", ""), request.POST.get("comment", "")
        if request.POST.get("verdict") == "reject":
            done = perform(
                request,
                lambda: runner.reject(
                    status.rollout, number, seen=seen, reason=comment, actor=request.user
                ),
                f"Phase {number} rejected. It cannot start until the plan changes or the "
                "rejection is withdrawn.",
            )
        else:
            done = perform(
                request,
                lambda: runner.approve(
                    status.rollout, number, seen=seen, comment=comment, actor=request.user
                ),
                f"Phase {number} approved. Another lead can start it once all gates pass.",
            )
        if done:
            return redirect("rollout:rollout", plan, environment)
    evidence = status.evidence.of_phase(number)
    page = {
        **confirmation(status, phase),
        "safety": data_safety_of(status),
        "approvals": approvals_of(evidence),
        "requests": requests_of(evidence),
        "rejections": rejections_of(evidence),
        "comment": field_sent(request, "comment"),
        "shortest": SHORTEST_REASON,
        "longest": LONGEST_REASON,
        "yours": any(
            not approval.void and approval.sign_off.actor_id == request.user.pk
            for approval in approvals_of(evidence)
        ),
    }
    status_code = 422 if request.method == "POST" else 200
    return render(request, "rollout/approve.html", page, status=status_code)


@may("start_rollout")
@require_POST
def ask(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase_or_404(status, number)
    perform(
        request,
        lambda: runner.ask_for_approval(
            status.rollout,
            number,
            to=request.POST.getlist("to"),
            comment=request.POST.get("comment", ""),
            actor=request.user,
        ),
        f"Approval requested for phase {number}. It is in the inbox of those who may approve.",
    )
    return redirect_back(request, status.rollout)


@may("override_gate")
@confirmed_recently(has_form=True)
@require_http_methods(["GET", "HEAD", "POST"])
def override(
    request: ConsoleRequest, plan: str, environment: str, number: int, gate: str
) -> HttpResponse:
    status = status_or_404(plan, environment)
    phase = phase_or_404(status, number)
    name = gate.replace("-", " ")
    gates = list(check_gates(status.evidence.of_phase(number)))
    asked = next((gate for gate in gates if gate.name == name), None)
    reason, refusal = field_sent(request, "reason"), ""
    if request.method == "POST":
        try:
            runner.override(status.rollout, number, name, reason=reason, actor=request.user)
        except runner.Refused as error:
            refusal = str(error)
        else:
            return redirect("rollout:start", plan, environment, number)
    elif asked is None:
        names = ", ".join(gate.name for gate in gates) or "none"
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
    perform(
        request,
        lambda: runner.confirm_override(sign_off, actor=request.user),
        f"Override of “{gate_label(sign_off.subject)}” by {sign_off.actor_name} confirmed.",
    )
    return redirect_back(request, sign_off.rollout)


@may("start_rollout")
@require_POST
def remind(request: ConsoleRequest, sign_off_id: int) -> HttpResponse:
    sign_off = sign_off_or_404(sign_off_id)
    perform(
        request,
        lambda: runner.remind(sign_off, actor=request.user),
        f"Reminder sent for the approval of phase {sign_off.phase}.",
    )
    return redirect_back(request, sign_off.rollout)


@may("approve_rollout")
@require_POST
def withdraw(request: ConsoleRequest, sign_off_id: int) -> HttpResponse:
    sign_off = sign_off_or_404(sign_off_id)
    whose = "your" if sign_off.actor_id == request.user.pk else f"{sign_off.actor_name}'s"
    perform(
        request,
        lambda: runner.withdraw(
            sign_off, reason=request.POST.get("reason", ""), actor=request.user
        ),
        f"You withdrew {whose} {sign_off.get_kind_display().lower()}.",
    )
    return redirect_back(request, sign_off.rollout)
