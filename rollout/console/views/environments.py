"""Making environments from snapshots, and putting snapshots back into those that are there."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from rollout import runner
from rollout.console.http.access import ConsoleRequest, environments_seen_by, may
from rollout.console.http.sessions import confirmed_recently
from rollout.console.http.shortcuts import (
    environment_or_404,
    restore_or_404,
    rollout_or_404,
    snapshot_named,
    snapshot_or_404,
)
from rollout.console.views.runs import perform
from rollout.journal.snapshots import newest_verified


@may("rehearse_rollout")
@require_POST
def stage(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    """Make a staging database from the snapshot that is named, else from the newest."""
    rollout = rollout_or_404(plan, environment)
    snapshot = snapshot_named(request.POST.get("snapshot", "")) or newest_verified(rollout)
    if snapshot is None or snapshot.rollout_id != rollout.pk:
        messages.error(request, f"No verified snapshot of {environment}. Take one first.")
        return redirect("rollout:snapshots", plan, environment)
    perform(
        request,
        lambda: runner.make_staging(
            snapshot, name=request.POST.get("name", ""), actor=request.user
        ),
        "Creating a staging database. It appears as an environment when it is ready.",
    )
    return redirect(snapshot)


@may("rehearse_rollout")
@confirmed_recently()
@require_POST
def drop(request: ConsoleRequest, environment_id: int) -> HttpResponse:
    made = environment_or_404(environment_id)
    perform(
        request,
        lambda: runner.drop_environment(made, actor=request.user),
        f"Environment {made.name} and its database dropped.",
    )
    return redirect("rollout:rollout", made.plan, made.beside)


@may("restore_snapshot")
@confirmed_recently()
@require_POST
def restore(request: ConsoleRequest, snapshot_id: int) -> HttpResponse:
    snapshot = snapshot_or_404(snapshot_id)
    into = rollout_or_404(snapshot.rollout.plan, request.POST.get("into", ""))
    if into.environment not in environments_seen_by(request.user, "restore_snapshot"):
        raise PermissionDenied(f"You need the lead role in {into.environment} to restore into it.")
    if request.POST.get("replace") != "on":
        messages.error(
            request,
            f"Confirm that the current data of {into.environment} will be replaced: tick the box.",
        )
        return redirect(snapshot)
    perform(
        request,
        lambda: runner.restore_snapshot(
            snapshot, into, replace=True, reason=request.POST.get("reason", ""), actor=request.user
        ),
        f"Restore of snapshot {snapshot.pk} into {into.environment} requested.",
    )
    return redirect(snapshot)


@may("restore_snapshot")
@confirmed_recently()
@require_POST
def approve(request: ConsoleRequest, restore_id: int) -> HttpResponse:
    restore = restore_or_404(restore_id)
    perform(
        request,
        lambda: runner.approve_restore(restore, actor=request.user),
        "Restore approved and started.",
    )
    return redirect(restore)


@may("rehearse_rollout")
@require_POST
def cancel(request: ConsoleRequest, restore_id: int) -> HttpResponse:
    restore = restore_or_404(restore_id)
    perform(
        request,
        lambda: runner.cancel_restore(restore, actor=request.user),
        "Restore cancelled; nothing was changed.",
    )
    return redirect(restore)
