"""What the console's templates call: the formats and the looks, under short names."""

from typing import Any

from django import template
from django.db import DatabaseError

from rollout.console import (
    approvals,
    badges,
    current_phases,
    formats,
    guides,
    mapping_rows,
    stops,
)
from rollout.console.alerts import health_of
from rollout.console.charts import cells, timelines
from rollout.console.current_phases import JobView
from rollout.console.headers import Header, header_of
from rollout.console.http import access, cookies, fragments, links
from rollout.console.lists.pages import Page
from rollout.console.previews import StepPreview, any_blocks, lock_waits
from rollout.journal import audits, labels
from rollout.journal.events import headline_of
from rollout.models import AuditReport, MappingChange, PhaseRun, Rollout
from rollout.queries import progress
from rollout.queries.inboxes import waiting_for
from rollout.queries.scaffold_texts import python_text
from rollout.queries.status import RolloutStatus, RolloutSummary

register = template.Library()

register.filter("number", formats.number)
register.filter("roughly", formats.roughly)
register.filter("percent", formats.percent)
register.filter("plain", formats.plain)
register.filter("figure", formats.figure)
register.filter("signed", formats.signed)
register.filter("milliseconds", formats.unbroken(formats.milliseconds))
register.filter("signed_milliseconds", formats.unbroken(formats.signed_milliseconds))
register.filter("duration", formats.unbroken(formats.duration))
register.filter("signed_duration", formats.unbroken(formats.signed_duration))
register.filter("took", formats.unbroken(formats.took))
register.filter("duration_range", formats.unbroken(formats.duration_range))
register.filter("byte_size", formats.unbroken(formats.byte_size))
register.filter("moment", formats.moment)
register.filter("waiting", formats.waiting)
register.filter("is_paused_by_signal", formats.is_paused_by_signal)
register.filter("job_took", progress.took)
register.filter("job_halted", progress.halted)
register.filter("job_speed", progress.speed_of)
register.filter("byte_change", formats.unbroken(formats.byte_change))
register.filter("local_times", formats.local_times)
register.filter("runbook_links", links.runbook_links)
register.filter("total", formats.total)
register.filter("reviewed", audits.reviewed)
register.filter("python", python_text)
register.filter("json_text", formats.json_text)
register.filter("category_label", labels.category_label)
register.filter("event_label", headline_of)
register.filter("gate_label", labels.gate_label)
register.filter("reason_label", labels.reason_label)
register.filter("job_label", labels.job_label)
register.filter("role_label", labels.role_label)
register.filter("plan_title", labels.plan_title)
register.filter("check_label", labels.check_label)
register.filter("signal_label", labels.signal_label)
register.filter("trigger_label", labels.trigger_label)
register.filter("preparation_label", labels.preparation_label)
register.filter("gates_ahead", current_phases.gates_ahead)
register.filter("rehearsal_action", current_phases.rehearsal_action)
register.filter("is_review_first", current_phases.is_review_first)
register.filter("may_be_repeated", approvals.may_be_repeated)
register.filter("health", health_of)
register.filter("blocks", StepPreview.blocks)
register.filter("any_blocks", any_blocks)
register.simple_tag(approvals.approvers, name="approvers")
register.simple_tag(badges.badge, name="badge")
register.simple_tag(stops.stop_of, name="stop_of")
register.simple_tag(badges.shape, name="shape")
register.simple_tag(badges.badge_label, name="badge_label")
register.simple_tag(access.login_url, name="login_url")
register.simple_tag(access.logout_url, name="logout_url")
register.simple_tag(links.application_links, name="application_links")
register.filter("allowed_by", guides.allowed_by)
register.simple_tag(links.user_menu, name="user_menu")
register.simple_tag(links.entry_url, name="entry_url")
register.simple_tag(links.runbook, name="runbook")
register.simple_tag(links.runbook_of_gate, name="runbook_of_gate")
register.simple_tag(links.back_here, name="back_here")
register.simple_tag(links.rollout_url, name="rollout_url")
register.simple_tag(cells.icon, name="icon")
register.simple_tag(cells.value, name="value")
register.simple_tag(cells.options, name="options")
register.simple_tag(mapping_rows.mapping_rows, name="mapping_rows")
register.simple_tag(cells.category, name="category")
register.simple_tag(cells.rows_of_numbers, name="rows_of_numbers")
register.simple_tag(cells.in_lane, name="in_lane")
register.simple_tag(cells.in_words, name="in_words")
register.simple_tag(cells.rows_of_marks, name="rows_of_marks")
register.simple_tag(cells.columns, name="columns")
register.simple_tag(cells.stretches, name="stretches")
register.simple_tag(cells.moments, name="moments")
register.simple_tag(cells.boxes, name="boxes")
register.simple_tag(cells.pairs, name="pairs")
register.simple_tag(cells.spellings, name="spellings")
register.simple_tag(timelines.timeline_mark, name="timeline_mark")
register.simple_tag(lock_waits)
register.simple_tag(current_phases.expected, name="expected")
register.filter("is_far_from_rehearsal", current_phases.is_far_from_rehearsal)
register.filter("is_any_far_from_rehearsal", current_phases.is_any_far_from_rehearsal)
register.simple_tag(current_phases.next_step_of, name="next_step")
register.simple_tag(current_phases.way_back_of, name="way_back")
register.simple_tag(formats.clock, name="clock")
register.simple_tag(formats.when, name="when")
register.simple_tag(formats.ago_text, name="ago")
register.simple_tag(formats.zone, name="zone")
register.simple_tag(formats.time_of_day, name="time_of_day")
register.simple_tag(formats.day_and_time, name="day_and_time")
register.simple_tag(formats.in_zone, name="in_zone")
register.simple_tag(formats.ahead, name="ahead")
register.filter("why_no_value", formats.why_no_value)

register.simple_tag(fragments.now_ms, name="made_now")


@register.simple_tag(takes_context=True)
def theme_chosen(context: template.Context) -> str:
    """Light, dark, or nothing: as the system has it."""
    request: Any = context.get("request")
    return cookies.theme_of(request)


@register.simple_tag(takes_context=True)
def inbox_count(context: template.Context) -> int:
    """How many decisions wait for a user; none where the journal is away, which the page says."""
    request: Any = context["request"]
    user = request.user
    try:
        return fragments.kept_until_next_entry(
            request, "inbox", user.pk, make=lambda: len(waiting_for(user))
        )
    except DatabaseError:
        return 0


@register.simple_tag
def audit_to_repair(status: RolloutStatus) -> AuditReport | None:
    """The audit that a gate asks people to review, where its rows wait for a repair."""
    return status.evidence.facts.audit_to_repair


@register.simple_tag
def review_to_follow(status: RolloutStatus) -> MappingChange | None:
    """The review whose rows a gate asks people to update."""
    facts = status.evidence.facts
    return facts.rows_to_update(facts.full_audit) if facts.full_audit is not None else None


@register.simple_tag(takes_context=True)
def rollout_header(context: template.Context) -> Header | None:
    """The header of a page of a rollout; None on a page of none."""
    rollout, request = context.get("rollout"), context.get("request")
    if not isinstance(rollout, Rollout) or request is None:
        return None
    status, run, jobs = (context.get(name) for name in ("status", "run", "jobs"))
    # The list of all jobs has rows of another kind.
    known = [job for job in jobs if isinstance(job, JobView)] if isinstance(jobs, list) else []
    if isinstance(repair := context.get("repair"), current_phases.RepairView):
        known += repair.jobs
    header = header_of(
        rollout,
        request,
        status=status if isinstance(status, RolloutStatus | RolloutSummary) else None,
        run=run if isinstance(run, PhaseRun) else None,
        closed=context.get("why"),
        jobs=known,
        open_now=context.get("open_now"),
        page_live=context.get("gates_live") or context.get("live") or 0,
    )
    if header.live is not None and header.live.is_own:
        fragments.vary_on_user(request)
    return header


@register.inclusion_tag("rollout/parts/head.html", takes_context=True)
def head(
    context: template.Context, listed: Any, column: str, words: str, classes: str = "", at: str = ""
) -> dict[str, Any]:
    """A column's head: of a page of a list it leads to the other order by this column.

    Where another page shows a few rows of the list, they have no order to choose.
    """
    shown = {name: context.get(name, "") for name in ("request", "list_at")}
    shown |= {"words": words, "classes": classes, "at": at}
    return shown | (listed.head_of(column) if isinstance(listed, Page) else {})
