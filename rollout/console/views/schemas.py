"""The schema page: the live tables beside what the plan expects, or beside another environment."""

import psycopg
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rollout.console.http.access import ConsoleRequest, environments_seen_by, may
from rollout.console.http.shortcuts import rollout_or_404
from rollout.engine.target import reason_of
from rollout.journal.environments import environments_of
from rollout.plan.schema_changes import of_phase
from rollout.queries.schema_diffs import against, against_plan, differences, schema_of
from rollout.queries.status import summaries_of


@may("view_rollout")
@require_safe
def schema(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    other = request.GET.get("against", "")
    seen = environments_seen_by(request.user, "view_rollout")
    known = environments_of(plan)
    if other in known and other not in seen:
        raise PermissionDenied(f"You need the viewer role in {other}. Ask an administrator for it.")
    (status,) = summaries_of([rollout])
    page: dict[str, object] = {
        "rollout": rollout,
        "status": status,
        "others": [name for name in known if name in seen and name != environment],
        "against": other,
    }
    second = rollout_or_404(plan, other) if other else None
    try:
        here = schema_of(rollout, status.runs, in_full=second is not None)
        there = schema_of(second, in_full=True) if second else None
    except psycopg.Error as error:
        page["error"] = reason_of(error)
        return render(request, "rollout/schema.html", page)
    tables = against(here, there) if there else against_plan(here)
    page |= {
        "schema": here,
        "drifts": differences(here, there) if there else here.drifts,
        "tables": tables,
        "same": sum(len(table.same) for table in tables),
        "left": environment if there else "The plan expects",
        "right": other if there else f"In {environment}",
    }
    upcoming = here.phases_done
    if not there and upcoming < len(here.plan.phases):
        page["schema_changes"] = of_phase(here.plan, upcoming)
        steps = len(here.plan.phases[upcoming].steps)
        done = "" if here.steps_done is None else f", {here.steps_done} of {steps} steps done"
        page["changes_heading"] = f"What phase {upcoming} changes{done}"
    return render(request, "rollout/schema.html", page)
