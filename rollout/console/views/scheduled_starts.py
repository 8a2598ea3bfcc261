"""Starting a phase later: the form's two buttons."""

from datetime import UTC, datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from rollout import runner
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.links import rollout_url
from rollout.console.http.sessions import confirmed_recently, guarded
from rollout.console.http.shortcuts import plan_or_404, rollout_or_404
from rollout.console.views.runs import has_typed_name, perform, redirect_back
from rollout.plan.plan import Plan
from rollout.runner.scheduled_starts import window_of


def zone_of(plan: Plan, phase: int) -> str:
    """The zone in which a phase's start is given: its window's, else the site's."""
    window = window_of(plan, phase)
    return timezone.get_default_timezone_name() if window is None else window.zone


def moment_of(text: str, zone: str) -> datetime | None:
    """The moment that a clock in a zone shows so; None for what is none there."""
    try:
        given = datetime.fromisoformat(text)
        if given.tzinfo is not None:
            return given.astimezone(UTC)
        moment = given.replace(tzinfo=ZoneInfo(zone))
        there = moment.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    except (ValueError, OverflowError):
        # No time, or one before the first or after the last that can be reckoned with.
        return None
    return moment if there == given else None


@may("start_rollout")
@confirmed_recently(when=guarded)
@require_POST
def schedule(request: ConsoleRequest, plan: str, environment: str, number: int) -> HttpResponse:
    named, rollout = plan_or_404(plan, environment, number), rollout_or_404(plan, environment)
    zone, text = zone_of(named, number), request.POST.get("at", "")
    at = moment_of(text, zone)
    page = rollout_url(rollout, "start", number)
    if named.is_guarded(number) and not has_typed_name(request, named):
        messages.error(request, f"Not scheduled. Type exactly {named.name}.")
    elif at is None:
        messages.error(request, f"“{text}” is not a time in {zone}. Enter a valid date and time.")
    elif perform(
        request,
        lambda: runner.schedule_start(
            rollout, number, at=at, zone=zone, seen=request.POST.get("seen", ""), actor=request.user
        ),
        f"Phase {number} scheduled. Preflight and gates are checked again then.",
    ):
        return redirect(rollout)
    return redirect(f"{page}?{urlencode({'at': text[:40]})}")


@may("start_rollout")
@require_POST
def unschedule(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    perform(
        request,
        lambda: runner.unschedule(rollout, actor=request.user),
        "Scheduled start cancelled.",
    )
    return redirect_back(request, rollout)
