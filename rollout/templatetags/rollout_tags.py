"""What the console's templates call: the formats and the looks, under short names."""

from typing import Any

from django import template

from rollout import audit_mappings, progress
from rollout.console import access, cells, closed, cookies, formatting, links, live, looks
from rollout.console.concerns import Concern
from rollout.console.paging import Page
from rollout.engine.health import Status
from rollout.gates.checklist import ItemStatus
from rollout.models import Delivery
from rollout.scaffolding import python_text

register = template.Library()

register.filter("number", formatting.number)
register.filter("roughly", formatting.roughly)
register.filter("percent", formatting.percent)
register.filter("plain", formatting.plain)
register.filter("figure", formatting.figure)
register.filter("signed", formatting.signed)
register.filter("milliseconds", formatting.milliseconds)
register.filter("signed_milliseconds", formatting.signed_milliseconds)
register.filter("duration", formatting.duration)
register.filter("took", formatting.took)
register.filter("duration_range", formatting.duration_range)
register.filter("byte_size", formatting.byte_size)
register.filter("moment", formatting.moment)
register.filter("waiting", formatting.waiting)
register.filter("is_held", formatting.is_held)
register.filter("job_took", progress.took)
register.filter("job_speed", progress.speed_of)
register.filter("byte_change", formatting.byte_change)
register.filter("local_times", formatting.local_times)
register.filter("total", formatting.total)
register.filter("reviewed", audit_mappings.reviewed)
register.filter("against", audit_mappings.against)
register.filter("python", python_text)
register.filter("json_text", formatting.json_text)
register.filter("job_word", looks.of_job)
register.simple_tag(access.login_url, name="login_url")
register.simple_tag(access.logout_url, name="logout_url")
register.simple_tag(links.application_links, name="application_links")
register.simple_tag(links.back_here, name="back_here")
register.simple_tag(cells.value, name="value")
register.simple_tag(cells.category, name="category")
register.simple_tag(cells.rows_of_numbers, name="rows_of_numbers")
register.simple_tag(cells.in_lane, name="in_lane")
register.simple_tag(cells.rows_of_marks, name="rows_of_marks")
register.simple_tag(cells.stretches, name="stretches")
register.simple_tag(cells.moments, name="moments")
register.simple_tag(cells.box, name="box", takes_context=True)
register.simple_tag(closed.why, name="why_closed")
register.simple_tag(formatting.clock, name="clock")
register.simple_tag(formatting.when, name="when")
register.simple_tag(formatting.ago_text, name="ago")
register.simple_tag(formatting.zone, name="zone")
register.simple_tag(formatting.time_of_day, name="time_of_day")
register.simple_tag(formatting.day_and_time, name="day_and_time")
register.simple_tag(formatting.in_zone, name="in_zone")
register.simple_tag(formatting.ahead, name="ahead")

register.simple_tag(live.now_ms, name="made_now")


@register.simple_tag(takes_context=True)
def theme_chosen(context: template.Context) -> str:
    """Light, dark, or nothing: as the system has it."""
    request: Any = context.get("request")
    return cookies.theme_of(request)


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


BADGE = "rollout/parts/badge.html"


@register.inclusion_tag(BADGE)
def phase_badge(state: str, way: str) -> dict[str, looks.Look]:
    return {"look": looks.of_phase(state, way)}


@register.inclusion_tag(BADGE)
def health_badge(concerns: list[Concern]) -> dict[str, looks.Look]:
    return {"look": looks.of_health([concern.tone for concern in concerns])}


@register.inclusion_tag(BADGE)
def step_badge(state: str, way: str, of_run: str = "", held: bool = False) -> dict[str, looks.Look]:
    return {"look": looks.of_step(state, way, of_run, held=held)}


@register.inclusion_tag(BADGE)
def audit_badge(status: str) -> dict[str, looks.Look]:
    return {"look": looks.of_audit(status)}


@register.inclusion_tag(BADGE)
def snapshot_badge(state: str) -> dict[str, looks.Look]:
    return {"look": looks.of_snapshot(state)}


@register.inclusion_tag(BADGE)
def delivery_badge(delivery: Delivery) -> dict[str, looks.Look]:
    return {"look": looks.of_delivery(delivery)}


@register.inclusion_tag(BADGE)
def rehearsal_badge(state: str) -> dict[str, looks.Look]:
    return {"look": looks.of_rehearsal(state)}


@register.inclusion_tag(BADGE)
def restore_badge(state: str) -> dict[str, looks.Look]:
    return {"look": looks.of_restore(state)}


@register.inclusion_tag(BADGE)
def gate_badge(status: str) -> dict[str, looks.Look]:
    return {"look": looks.of_gate(status)}


@register.inclusion_tag(BADGE)
def rerun_badge(answer: str) -> dict[str, looks.Look]:
    return {"look": looks.of_rerun(answer)}


@register.inclusion_tag(BADGE)
def item_badge(one: ItemStatus) -> dict[str, looks.Look]:
    return {"look": looks.of_item(one)}


@register.inclusion_tag(BADGE)
def signal_badge(status: Status) -> dict[str, looks.Look]:
    return {"look": looks.of_signal(status)}


@register.inclusion_tag("rollout/parts/shape.html")
def phase_shape(state: str, way: str) -> dict[str, looks.Look]:
    return {"look": looks.of_phase(state, way)}


@register.simple_tag
def phase_word(state: str, way: str) -> str:
    return looks.of_phase(state, way).label


@register.inclusion_tag(BADGE)
def verdict_badge(verdict: str) -> dict[str, looks.Look]:
    return {"look": looks.of_verdict(verdict)}


@register.inclusion_tag(BADGE)
def rule_badge(verdict: str) -> dict[str, looks.Look]:
    return {"look": looks.of_rule(verdict)}
