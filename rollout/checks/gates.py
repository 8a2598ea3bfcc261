"""Refuses guardrails that cannot be evaluated, and gates that can never open."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from zoneinfo import available_timezones

from rollout.checks.ids import CheckId
from rollout.checks.problems import Problem
from rollout.plan.gates import ChecklistComplete, MaintenanceWindow, MappingReviewed
from rollout.plan.guardrails import COUNTED, Guardrail
from rollout.plan.plan import BACKFILL, Plan
from rollout.telemetry.recorder import INTERVAL_SECONDS

# Older measurements are merged into longer ones.
MAX_LOOK_BACK = timedelta(minutes=4)


def guardrail_problems(plan: Plan) -> Iterator[Problem]:
    for rule_id, count in Counter(rule.id for rule in plan.all_guardrails).items():
        if count > 1:
            yield Problem(
                CheckId.RULE_ID_TWICE,
                f"{count} guardrails have the id '{rule_id}'.",
                "Guardrail ids must be unique: rename all but one.",
            )
    for rule in plan.guardrails:
        reason = _wrong_with(rule)
        if reason:
            yield Problem(CheckId.WRONG_RULE, f"Guardrail '{rule.id}' {reason[0]}", reason[1])


def _wrong_with(rule: Guardrail) -> tuple[str, str] | None:
    if rule.at_most is None and not rule.is_relative:
        return "has no limit.", "Set at_most, or times and above."
    if rule.statistic in COUNTED and (rule.at_most is None or rule.is_relative):
        return "counts, but is compared with a baseline.", "Set at_most only."
    if not 1 <= rule.broken_windows <= rule.windows:
        return (
            f"needs {rule.broken_windows} of {rule.windows} windows.",
            f"Set broken_windows to 1 to {rule.windows}.",
        )
    if rule.seconds < 1 or rule.seconds % INTERVAL_SECONDS:
        return (
            f"has windows of {rule.seconds} s; measurements come every {INTERVAL_SECONDS} s.",
            f"Set seconds to a multiple of {INTERVAL_SECONDS}.",
        )
    if rule.seconds * rule.windows > MAX_LOOK_BACK.total_seconds():
        return (
            f"looks back {rule.seconds * rule.windows} s.",
            f"Look back at most {MAX_LOOK_BACK.total_seconds():.0f} s: older data is merged.",
        )
    return None


def gate_problems(plan: Plan) -> Iterator[Problem]:
    for number, phase in enumerate(plan.phases):
        for gate in phase.gates:
            if isinstance(gate, MaintenanceWindow) and (reason := _wrong_with_window(gate)):
                yield Problem(
                    CheckId.WRONG_WINDOW,
                    f"The maintenance window of phase {number} {reason}",
                    "Set days, different hours, and a time zone such as 'Europe/Berlin'.",
                )
            if isinstance(gate, ChecklistComplete) and not plan.checklist:
                yield Problem(
                    CheckId.NO_CHECKLIST,
                    f"Phase {number} requires a checklist, but the plan has none.",
                    "Define a checklist, or remove the gate.",
                )
            if isinstance(gate, MappingReviewed) and not (number > BACKFILL and plan.lookups):
                yield Problem(
                    CheckId.NO_MAPPING_TO_REVIEW,
                    f"Phase {number} requires a reviewed mapping, but there is none before it.",
                    f"Set the gate after phase {BACKFILL} in a plan with lookups, or remove it.",
                )
    for item_id, count in Counter(item.id for item in plan.checklist).items():
        if count > 1:
            yield Problem(
                CheckId.ITEM_ID_TWICE,
                f"{count} items of the checklist have the id '{item_id}'.",
                "Item ids must be unique: rename all but one.",
            )


def _wrong_with_window(window: MaintenanceWindow) -> str:
    if window.zone not in available_timezones():
        return f"has the unknown time zone '{window.zone}'."
    if not window.days:
        return "has no days."
    if window.opens == window.closes:
        return "opens and closes at the same time."
    return ""
