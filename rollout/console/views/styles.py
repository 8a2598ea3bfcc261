"""The console's own look: every part on one page, and what a browser chooses to see."""

from collections.abc import Sequence
from datetime import timedelta
from math import sin
from types import SimpleNamespace
from typing import ClassVar

from django import forms
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from rollout.console.alerts import Alert
from rollout.console.charts.lines import Level, Values, numbers_of, plot_of
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.cookies import GUIDE, HIDDEN, THEME, THEMES
from rollout.console.lists.filters import ListFilter, choice
from rollout.console.lists.pages import BY_AGE, NEWEST, Order, Page
from rollout.console.previews import Preview, StepPreview, TableLock
from rollout.console.views.runs import redirect_back
from rollout.models import Direction, RunState
from rollout.plan.plan import ROLES

YEAR_SECONDS = 365 * 24 * 3600
# The colours by their purpose; style.css has a swatch of each.
TOKENS = {
    "Surfaces": ("bg", "surface", "sunken", "hover", "border", "border-strong"),
    "Text and actions": ("text", "muted", "accent", "accent-fill"),
    "States": ("good", "warn", "bad", "info", "good-soft", "warn-soft", "bad-soft", "info-soft"),
}


def _example_phases() -> list[SimpleNamespace]:
    states = (*[RunState.DONE] * 3, RunState.RUNNING, "pending")
    return [
        SimpleNamespace(
            number=number,
            role=role,
            state=state,
            direction=Direction.FORWARD,
            duration=timedelta(seconds=8 * number + 1),
            estimate=timedelta(seconds=30 * number + 10),
        )
        for number, (role, state) in enumerate(zip(ROLES, states, strict=True))
    ]


# A destructive step as a confirmation page shows it.
EXAMPLE_STEP = (
    {"destructive": True, "restrictive": False, "description": "Drop the legacy columns"},
    StepPreview(
        kind="Statement",
        forward=[Preview("", "ALTER TABLE things DROP COLUMN kind")],
        backward=[Preview("", "ALTER TABLE things ADD COLUMN kind text")],
        forward_locks=[TableLock("ACCESS EXCLUSIVE", "things", "reads and writes", False)],
        backward_locks=[],
    ),
)
EXAMPLE_LIST = Page(
    rows=["properties", "property_images"],
    next="2",
    first=True,
    order=NEWEST,
    orders=(*BY_AGE, Order("most-rows", "Most rows first", "rows", descending=True)),
    misread="Invalid page link; showing the first page.",
)


class ExampleFilter(ListFilter):
    """The filters above every list."""

    text = forms.CharField(required=False, label="A text")
    kind = choice([("one", "One")], "A choice")
    lookups: ClassVar = {}


@may("view_rollout", anywhere=True)
@require_safe
def parts(request: ConsoleRequest) -> HttpResponse:
    """The style guide: every token and part of the pages."""
    now = timezone.now()
    moments = [now - timedelta(seconds=10 * (60 - n)) for n in range(61)]
    waves: list[tuple[str, Values]] = [
        ("p50", [(at, 12 + 3 * sin(n / 6)) for n, at in enumerate(moments)]),
        ("p95", [(at, 30 + 14 * sin(n / 9)) for n, at in enumerate(moments)]),
    ]
    levels = [Level("slower (p95)", 60), Level("p95", 30, is_baseline=True)]
    plot = plot_of("Latency", "ms", waves, moments[0], now, levels=levels)
    page = {
        "rollout": SimpleNamespace(plan="example", environment="example"),
        "status": {
            "plan": {"name": "example"},
            "phases": _example_phases(),
        },
        "phase": {"number": 3},
        "alerts": [
            Alert("Phase 3 failed.", "#health"),
            Alert("Guardrail “latency” is breached.", "#health", "warn"),
            Alert("Guardrail “slower” is breached: backfills are throttled.", "#health", "info"),
        ],
        "steps": [EXAMPLE_STEP],
        "listed": EXAMPLE_LIST,
        "filters": ExampleFilter(QueryDict("kind=another")),
        "tokens": TOKENS,
        "states": [*RunState.values],
        "forward": Direction.FORWARD,
        "backward": Direction.BACKWARD,
        "plot": plot,
        "plots": [plot],
        "numbers": numbers_of([plot]),
        "now": now,
        "earlier": now - timedelta(days=2, hours=3),
    }
    return render(request, "rollout/style.html", page)


@may("view_rollout", anywhere=True)
@require_POST
def theme(request: ConsoleRequest) -> HttpResponse:
    """Choose light or dark; anything else leaves it to the system."""
    return _choice_kept(request, THEME, THEMES)


@may("view_rollout", anywhere=True)
@require_POST
def guide(request: ConsoleRequest) -> HttpResponse:
    """Hide the guide through a rollout in this browser; anything else shows it again."""
    return _choice_kept(request, GUIDE, (HIDDEN,))


def _choice_kept(request: ConsoleRequest, name: str, choices: Sequence[str]) -> HttpResponse:
    """A choice of the browser's is kept in the cookie of its name for a year."""
    response = redirect_back(request, "rollout:overview")
    chosen = request.POST.get(name, "")
    if chosen in choices:
        response.set_cookie(
            name, chosen, max_age=YEAR_SECONDS, samesite="Lax", secure=request.is_secure()
        )
    else:
        response.delete_cookie(name, samesite="Lax")
    return response
