"""The page of the offers. It never learns which shape is in force."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from offers import book
from rollout.telemetry import leave_out

SHOWN = 50


@leave_out
@login_required
@require_safe
def offers(request: HttpRequest) -> HttpResponse:
    """The newest offers."""
    return render(request, "offers/list.html", {"offers": book.newest_offers(SHOWN)})
