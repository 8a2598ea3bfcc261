"""Snapshots: the list of a rollout's, and the evidence of one."""

from dataclasses import dataclass
from typing import ClassVar

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rollout import runner
from rollout.console.badges import labels_of
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.fragments import cache_fragment, reload_seconds, render_live, vary_on_user
from rollout.console.http.links import rollout_url
from rollout.console.http.sessions import confirmed_recently
from rollout.console.http.shortcuts import rollout_or_404, snapshot_or_404
from rollout.console.lists.filters import ListFilter, choice
from rollout.console.lists.pages import BY_AGE, Order, page_of
from rollout.console.views.runs import perform, redirect_back
from rollout.journal.environments import DEFAULT, environments_of, is_protected
from rollout.journal.heartbeats import liveness
from rollout.journal.snapshots import listed, newest_verified
from rollout.models import (
    RESTORE_WORKING,
    SNAPSHOT_ENDED,
    RestoreState,
    Snapshot,
    SnapshotState,
)
from rollout.runner.restores import refusal_to_approve

ORDERS = (
    *BY_AGE,
    Order("largest", "Largest first", "size", descending=True),
    Order("smallest", "Smallest first", "size"),
)
MAX_PAIRS = 100
MAX_RESTORES = 10


class SnapshotFilter(ListFilter):
    """Which snapshots are listed."""

    state = choice(labels_of("snapshot"))
    lookups: ClassVar = {"state": "state"}


@dataclass(frozen=True)
class Count:
    """A table's rows: in the snapshot, and in the restored copy where there was one."""

    table: str
    rows: int
    restored: int | None

    @property
    def is_equal(self) -> bool:
        return self.rows == self.restored


@may("view_rollout", to_post="take_snapshot")
@require_http_methods(["GET", "HEAD", "POST"])
@cache_fragment
def snapshots(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    if request.method == "POST":
        then_rehearse = bool(request.POST.get("then_rehearse"))
        if then_rehearse and not request.user.has_perm("rollout.rehearse_rollout"):
            raise PermissionDenied("Rehearsals require the engineer or lead role.")
        after = " A rehearsal starts from it then." if then_rehearse else ""
        perform(
            request,
            lambda: runner.take_snapshot(rollout, then_rehearse=then_rehearse, actor=request.user),
            f"Taking a snapshot. It is verified automatically.{after}",
        )
        return redirect_back(request, rollout_url(rollout, "snapshots"))
    filters = SnapshotFilter(request.GET)
    page_of_snapshots = page_of(filters.of(listed(rollout)), request.GET, size=25, orders=ORDERS)
    page = {
        "filters": filters,
        "rollout": rollout,
        "snapshots": page_of_snapshots,
        "newest": newest_verified(rollout),
        "liveness": liveness(),
        "live": reload_seconds(any(snapshot.under_way for snapshot in page_of_snapshots)),
    }
    return render_live(request, "snapshots", page)


@may("view_rollout")
@require_safe
@cache_fragment
def snapshot(request: ConsoleRequest, snapshot_id: int) -> HttpResponse:
    snapshot = snapshot_or_404(snapshot_id)
    restores = list(snapshot.restores.select_related("rollout", "environment")[:MAX_RESTORES])
    if any(restore.state == RestoreState.WAITING for restore in restores):
        # The requester cannot approve.
        vary_on_user(request)
    live = snapshot.under_way or any(restore.state in RESTORE_WORKING for restore in restores)
    page = {
        "snapshot": snapshot,
        "rollout": snapshot.rollout,
        "restores": [
            {"restore": restore, "refusal": refusal_to_approve(restore, request.user)}
            if restore.state == RestoreState.WAITING
            else {"restore": restore}
            for restore in restores
        ],
        "environments": [
            name for name in environments_of(snapshot.rollout.plan) if not is_protected(name)
        ],
        "production": _live(snapshot),
        "counts": counts_of(snapshot),
        "crosstabs": [
            {
                **crosstab,
                "cells": crosstab["cells"][:MAX_PAIRS],
                "left_out": crosstab["pairs"] - len(crosstab["cells"][:MAX_PAIRS]),
            }
            for crosstab in snapshot.crosstabs
        ],
        "may_verify": snapshot.sha256 and snapshot.state in SNAPSHOT_ENDED,
        "may_cancel": snapshot.under_way and snapshot.state != SnapshotState.CANCELLING,
        "is_good": snapshot.state == SnapshotState.VERIFIED,
        "may_delete": not snapshot.under_way and snapshot.state != SnapshotState.DELETED,
        "liveness": liveness() if live else None,
        "live": reload_seconds(live),
    }
    return render_live(request, "snapshot", page)


@may("take_snapshot")
@require_POST
def verify(request: ConsoleRequest, snapshot_id: int) -> HttpResponse:
    snapshot = snapshot_or_404(snapshot_id)
    perform(
        request,
        lambda: runner.verify_snapshot(snapshot, actor=request.user),
        "Verifying the snapshot.",
    )
    return redirect(snapshot)


@may("take_snapshot")
@require_POST
def cancel(request: ConsoleRequest, snapshot_id: int) -> HttpResponse:
    snapshot = snapshot_or_404(snapshot_id)
    perform(
        request,
        lambda: runner.cancel_snapshot(snapshot, actor=request.user),
        "Snapshot cancelled. Its partial dump will be deleted.",
    )
    return redirect(snapshot)


@may("take_snapshot")
@confirmed_recently()
@require_POST
def delete(request: ConsoleRequest, snapshot_id: int) -> HttpResponse:
    snapshot = snapshot_or_404(snapshot_id)
    perform(
        request,
        lambda: runner.delete_snapshot(snapshot, actor=request.user),
        "Dump deleted. Metadata is kept.",
    )
    return redirect(snapshot)


def counts_of(snapshot: Snapshot) -> list[Count]:
    """The rows of each table, those that differ first."""
    counts = [
        Count(table, rows, snapshot.restored_counts.get(table))
        for table, rows in snapshot.counts.items()
    ]
    return sorted(counts, key=lambda count: (count.is_equal, count.table))


def _live(snapshot: Snapshot) -> str:
    """The protected environment into which a snapshot may be restored."""
    own = snapshot.rollout.environment
    return own if is_protected(own) else DEFAULT
