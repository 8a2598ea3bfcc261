"""What the demo's guide has and no real site. These views have addresses in the demo alone."""

from django.contrib import messages
from django.contrib.auth.models import User
from django.db import Error
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_POST

from config import slowness
from config.demo_accounts import refuse_outside
from config.guides import LEADS, WRONG_ROWS
from properties.mistakes import plant_wrong_types
from properties.rollout import PLAN
from rollout import runner
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.views.preparations import prepare
from rollout.console.views.runs import perform, redirect_back
from rollout.engine.mapping import Decision
from rollout.gates import Evidence
from rollout.gates.checklists import checklist_of
from rollout.journal.actors import Actor
from rollout.journal.environments import DEFAULT
from rollout.journal.moments import in_words
from rollout.logs.texts import counted
from rollout.models import BackfillJob, Rollout, RunState
from rollout.plan.plan import ENFORCE
from rollout.queries.mapping_reviews import confirmations, review_now
from rollout.queries.status import find_rollout
from rollout.telemetry import leave_out

# What the guide decides, by the normal form of a legacy value; all others it confirms.
DECISIONS = {"apt": Decision("Apartment"), "condominium": Decision("Condo")}


def the_rollout() -> Rollout:
    return find_rollout(PLAN.name, DEFAULT)


def review_everything(rollout: Rollout, *, actor: Actor) -> list[str]:
    """Decide on every value that nobody has decided on, and return their normal forms.

    Raises Refused and psycopg.Error.
    """
    decided: list[str] = []
    for lookup in PLAN.lookups:
        values = review_now(rollout, lookup).open
        decisions = confirmations(values) | {
            value.normal: DECISIONS[value.normal] for value in values if value.normal in DECISIONS
        }
        if decisions:
            runner.review_mapping(rollout, lookup, decisions, actor=actor)
            decided += decisions
    return decided


def what_was_decided(forms: list[str]) -> str:
    """What a review did, by the normal forms that it decided on."""
    mapped = [form for form in DECISIONS if form in forms]
    confirmed = sum(form not in DECISIONS for form in forms)
    if not mapped:
        return f"{counted(confirmed, 'value')} confirmed." if forms else "No value was open."
    words = [f"“{form.capitalize()}” mapped to {DECISIONS[form].name}" for form in mapped]
    if confirmed:
        words.append(f"{counted(confirmed, 'other value')} confirmed")
    return f"{', '.join(words)}."


def mark_everything(rollout: Rollout, *, actor: Actor) -> None:
    """Mark the items of the checklist that are people's. Raises Refused."""
    for item in checklist_of(Evidence(rollout, 1, plan=PLAN)):
        if item.ticked_by_hand and item.status != "pass":
            runner.tick(rollout, item.item.id, actor=actor)


def phases_to_approve(rollout: Rollout) -> list[int]:
    """Each phase that needs an approval and is not done."""
    runs = Evidence(rollout, 0, plan=PLAN).runs
    done = {n for n, x in runs.items() if x.state == RunState.DONE and x.direction == "forward"}
    return [n for n in range(len(PLAN.phases)) if PLAN.is_guarded(n) and n not in done]


def approve_everything(rollout: Rollout, *, actor: Actor) -> None:
    """Approve each phase that needs it and is not done. Raises Refused."""
    for number in phases_to_approve(rollout):
        runner.approve(rollout, number, seen=PLAN.digest_of(number), actor=actor)


def lift_limit(rollout: Rollout, *, actor: Actor) -> None:
    """Let the rollout's unfinished backfill jobs work at full speed. Raises Refused."""
    jobs = BackfillJob.objects.filter(step_run__run__rollout=rollout, finished_at=None)
    for job in jobs.exclude(rows_per_second=None):
        runner.set_pace(
            job,
            target_ms=job.target_ms,
            duty_percent=job.duty_percent,
            rows_per_second=None,
            workers=job.workers,
            commit_limit_ms=job.commit_limit_ms,
            actor=actor,
        )


@leave_out
@may("review_mapping")
@require_POST
def review(request: ConsoleRequest) -> HttpResponse:
    refuse_outside(request)
    rollout = the_rollout()
    decide_on_values(request, rollout)
    return redirect_back(request, rollout)


@leave_out
@may("review_mapping")
@require_POST
def request_approval(request: ConsoleRequest) -> HttpResponse:
    """Decide on the open values, then request all else that phase 3 needs."""
    refuse_outside(request)
    rollout = the_rollout()
    if decide_on_values(request, rollout):
        return prepare(request, PLAN.name, DEFAULT, ENFORCE)
    return redirect_back(request, rollout)


def decide_on_values(request: ConsoleRequest, rollout: Rollout) -> bool:
    return perform(
        request, lambda: review_everything(rollout, actor=request.user), what_was_decided
    )


@leave_out
@may("tick_checklist")
@require_POST
def mark(request: ConsoleRequest) -> HttpResponse:
    refuse_outside(request)
    rollout = the_rollout()
    perform(request, lambda: mark_everything(rollout, actor=request.user), "Marked done.")
    return redirect_back(request, rollout)


@leave_out
@may("audit_rollout")
@require_POST
def plant(request: ConsoleRequest) -> HttpResponse:
    refuse_outside(request)
    rollout = the_rollout()
    try:
        rows = plant_wrong_types(WRONG_ROWS)
    except Error as error:
        messages.error(request, f"No row was planted: {' '.join(str(error).split())}")
        return redirect_back(request, rollout)
    perform(
        request,
        lambda: runner.start_audit(rollout, actor=request.user),
        f"Gave {counted(rows, 'row')} a wrong type. A full audit was started to find them.",
    )
    return redirect_back(request, rollout)


@leave_out
@may("approve_rollout")
@require_POST
def approve(request: ConsoleRequest) -> HttpResponse:
    """In the name of the other lead, who need not log in."""
    refuse_outside(request, even_if_strict=False)
    rollout, name = the_rollout(), request.POST.get("name", "")
    if name not in LEADS:
        raise Http404(f"The demo has no such lead. It has: {', '.join(LEADS)}.")
    lead = get_object_or_404(User, username=name)
    phases = " and ".join(f"phase {number}" for number in phases_to_approve(rollout))
    perform(
        request,
        lambda: approve_everything(rollout, actor=lead),
        f"{name} approved {phases or 'nothing'}.",
    )
    return redirect_back(request, rollout)


@leave_out
@may("pause_rollout")
@require_POST
def slow(request: ConsoleRequest) -> HttpResponse:
    refuse_outside(request)
    slowness.begin()
    now = in_words(timezone.now())
    messages.success(
        request, f"The application was asked to be slow for {slowness.SECONDS} s at {now}."
    )
    return redirect_back(request, the_rollout())


@leave_out
@may("pause_rollout")
@require_POST
def full_pace(request: ConsoleRequest) -> HttpResponse:
    """Lift the limit that the demo put on the backfill."""
    refuse_outside(request)
    rollout = the_rollout()
    perform(
        request,
        lambda: lift_limit(rollout, actor=request.user),
        "Row limit lifted. Guardrails and health signals still throttle the backfill.",
    )
    return redirect_back(request, rollout)
