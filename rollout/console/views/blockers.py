"""The page that asks before a session in a phase's way is cancelled or ended."""

from typing import cast, get_args

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from rollout import runner
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.sessions import confirmed_recently
from rollout.console.http.shortcuts import rollout_or_404
from rollout.engine.blockers import How

WAYS_TO_END = cast(tuple[How, ...], get_args(How))


@may("end_blocker")
@confirmed_recently()
@require_http_methods(["GET", "HEAD", "POST"])
def blocker(request: ConsoleRequest, plan: str, environment: str, pid: int) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    if request.method == "POST":
        how = request.POST.get("how", "")
        try:
            if how not in WAYS_TO_END:
                raise runner.Refused(
                    "No action chosen. Choose one: cancel query or terminate session."
                )
            came_of_it = runner.end_blocker(
                rollout,
                pid,
                began_at=request.POST.get("began_at", ""),
                how=how,
                actor=request.user,
            )
        except runner.Refused as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, came_of_it)
        return redirect(rollout)
    began_at = request.GET.get("began_at", "")
    blocked = runner.blocked_step(rollout)
    page = {
        "rollout": rollout,
        "pid": pid,
        "began_at": began_at,
        "blocked": blocked,
        "blocker": blocked.blocker(pid, began_at) if blocked else None,
        "refusals": {
            how: runner.refusal_to_end(rollout, pid, began_at, how) for how in WAYS_TO_END
        },
    }
    return render(request, "rollout/blocker.html", page)
