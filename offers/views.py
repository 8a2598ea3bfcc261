"""The page of the offers. It never learns which shape is in force."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from offers import book
from offers.traffic import SHOWN
from rollout.telemetry import leave_out, operation


# Who has not logged in sees no offers: that is left out.
@leave_out
@login_required
@require_safe
@operation("list-offers")
def offers(request: HttpRequest) -> HttpResponse:
    """The newest offers."""
    return render(request, "offers/list.html", {"offers": book.newest_offers(SHOWN)})
