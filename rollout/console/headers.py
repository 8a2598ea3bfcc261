"""The header of every page of a rollout: where it is, the state, and the tabs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlencode

from django.contrib.auth.models import User

from rollout.console.current_phases import JobView, is_at_work
from rollout.console.http.access import ConsoleRequest
from rollout.console.http.fragments import kept_until_next_entry, reload_seconds
from rollout.console.http.links import Link, rollout_url
from rollout.console.rollout_states import RolloutState, Waiting, states_of, waiting_of
from rollout.journal.environments import homes_of
from rollout.journal.labels import plan_title
from rollout.models import PhaseRun, Rollout
from rollout.permissions import allowed_in
from rollout.queries.side_work import SideWork
from rollout.queries.status import (
    RolloutStatus,
    RolloutSummary,
    closed_reason,
    summaries_of,
    summary_of,
)


class _Tab(NamedTuple):
    """A tab, and the URL names of the pages that belong to it besides its own."""

    label: str
    pages: frozenset[str] = frozenset()
    waiting: Callable[[Waiting, User], int] | None = None
    waits: str = ""
    """What its count counts."""


TABS: Mapping[str, _Tab] = {
    "rollout": _Tab("Overview"),
    "phase": _Tab(
        "Phases",
        frozenset(
            {
                *("start", "roll_back", "preflight", "rollback_locks", "rerun", "schedule"),
                *("approve", "override", "readiness", "blocker", "retry", "cancel", "ticket"),
                "leftovers",
            }
        ),
        Waiting.sign_offs,
        "waiting for approval",
    ),
    "mappings": _Tab(
        "Mapping review",
        frozenset(
            {
                *("mapping", "mapping_preview", "mapping_apply", "correct"),
                *("values", "values_preview", "decide_values"),
            }
        ),
        lambda waiting, _: waiting.open_values,
        "open values to review",
    ),
    "jobs": _Tab("Backfill jobs", frozenset({"job", "pace", "retry_quarantined"})),
    "audits": _Tab(
        "Audits",
        frozenset({"audit", "compare", "repair", "finding", "waive", "unwaive"}),
        lambda waiting, _: waiting.mismatches,
        "mismatches",
    ),
    "snapshots": _Tab("Snapshots", frozenset({"snapshot", "delete_snapshot", "restore"})),
    "rehearsals": _Tab("Rehearsals", frozenset({"rehearsal", "stage"})),
    "monitoring": _Tab("Monitoring", frozenset({"shadow"})),
    "schema": _Tab("Schema"),
    "activity": _Tab("Activity", frozenset({"activity-entry"})),
}
"""By the URL name of the page that a tab leads to."""

# Pages whose address has an environment and otherwise only what is of the plan.
_IN_EVERY_ENVIRONMENT = TABS.keys() | {"readiness", "leftovers", "mapping", "values"}


@dataclass(frozen=True)
class Tab:
    label: str
    url: str
    current: str
    """``page`` on the tab's own page, ``true`` on one below it, else empty: for aria-current."""
    count: int = 0
    waits: str = ""


@dataclass(frozen=True)
class LiveHeader:
    """The part of a header that is requested again."""

    state: RolloutState
    tabs: list[Tab]
    name: str
    """The URL name of the page."""
    page: str
    """The path of the page, to which the buttons lead back."""
    live: int
    """Seconds until it is requested again."""
    side_work: list[SideWork]
    """What runs beside the phases."""
    is_own: bool
    """Whether another user may be shown something else."""
    is_carried: bool
    """Whether the page's own live part brings it along, as often as it would ask itself."""

    @property
    def address(self) -> str:
        """The address of the tab itself."""
        query = urlencode({"name": self.name, "page": self.page})
        return f"{rollout_url(self.state.status.rollout, 'header')}?{query}"


@dataclass(frozen=True)
class Header:
    title: str
    is_overview: bool
    crumbs: list[Link]
    """The pages between the rollout's and this one."""
    environments: list[Link]
    """This page, or its tab, in each environment of the plan that the user sees."""
    closed: str
    """Why only the journal knows the rollout; empty where it is open."""
    live: LiveHeader | None
    """None where it is closed."""


def header_of(
    rollout: Rollout,
    request: ConsoleRequest,
    *,
    status: RolloutStatus | RolloutSummary | None = None,
    run: PhaseRun | None = None,
    closed: str | None = None,
    jobs: Sequence[JobView] = (),
    open_now: Mapping[tuple[str, str], int] | None = None,
    page_live: int = 0,
) -> Header:
    """The header of the page that a request is for.

    ``status``, ``closed``, ``jobs`` and ``open_now`` are there where the page has read them
    already; ``run`` is the one that it is about. ``page_live`` are the seconds until its live part
    asks again.
    """
    match = request.resolver_match
    name, given = (match.url_name or "", match.kwargs) if match is not None else ("", {})
    closed = closed_reason(rollout) if closed is None else closed
    return Header(
        title=plan_title(rollout.plan),
        is_overview=name == "rollout" and not closed,
        crumbs=_crumbs(rollout, name, run.phase if run else given.get("number")),
        environments=[] if closed else _environments(rollout, name, given, request),
        closed=closed,
        live=None
        if closed
        else live_header_of(
            *(rollout, request, request.path, name),
            status=status,
            jobs=jobs,
            open_now=open_now,
            page_live=page_live,
        ),
    )


def live_header_of(
    rollout: Rollout,
    request: ConsoleRequest,
    page: str,
    name: str,
    *,
    status: RolloutStatus | RolloutSummary | None = None,
    jobs: Sequence[JobView] = (),
    open_now: Mapping[tuple[str, str], int] | None = None,
    page_live: int = 0,
) -> LiveHeader:
    """The live part of the header of the page with that path and URL name, for its reader."""
    evidence = status.evidence if isinstance(status, RolloutStatus) else None
    if isinstance(status, RolloutStatus):
        status = summary_of(status)
    summary = status or summaries_of([rollout])[0]
    (state,) = states_of([summary], jobs)
    waiting = waiting_of(summary, request, evidence, open_now)
    tabs = [
        Tab(
            label=tab.label,
            url=rollout_url(rollout, key, *([state.phase.number] if key == "phase" else [])),
            current="page" if name == key else "true" if name in tab.pages else "",
            count=tab.waiting(waiting, request.user) if tab.waiting is not None else 0,
            waits=tab.waits,
        )
        for key, tab in TABS.items()
    ]
    live = reload_seconds(is_at_work(summary) or bool(waiting.side_work))
    return LiveHeader(
        *(state, tabs, name, page, live, waiting.side_work),
        is_own=bool(waiting.askers),
        is_carried=0 < page_live <= live,
    )


def _tab_of(name: str) -> str:
    return next((key for key, tab in TABS.items() if name == key or name in tab.pages), "rollout")


def _crumbs(rollout: Rollout, name: str, phase: int | None) -> list[Link]:
    tab = _tab_of(name)
    crumbs = []
    if phase is not None and name != "phase":
        crumbs.append(Link(f"Phase {phase}", rollout_url(rollout, "phase", phase), False))
    if name != tab and tab != "phase":
        crumbs.append(Link(TABS[tab].label, rollout_url(rollout, tab), False))
    return crumbs


def _environments(
    rollout: Rollout, name: str, given: Mapping[str, object], request: ConsoleRequest
) -> list[Link]:
    page = name if name in _IN_EVERY_ENVIRONMENT else _tab_of(name)
    of_page = [value for key, value in given.items() if key not in ("plan", "environment")]
    if page != name:
        of_page = [given.get("number", 0)] if page == "phase" else []
    homes = kept_until_next_entry(
        request, "homes", rollout.plan, make=lambda: homes_of(rollout.plan)
    )
    return [
        Link(
            environment,
            rollout_url(Rollout(plan=rollout.plan, environment=environment), page, *of_page),
            environment == rollout.environment,
        )
        for environment, home in homes.items()
        if allowed_in(request.user, "view_rollout", home)
    ]
