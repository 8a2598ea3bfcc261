"""Refuses guardrails that cannot be evaluated, and gates that can never open."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from zoneinfo import available_timezones

from rollout.checks.ids import CheckId
from rollout.checks.problems import Problem
from rollout.plan.gates import ChecklistComplete, MaintenanceWindow
from rollout.plan.plan import Plan
from rollout.plan.rules import COUNTED, Rule
from rollout.telemetry.recorder import INTERVAL_SECONDS

# Older measurements are put together.
MAX_LOOK_BACK = timedelta(minutes=4)


def guardrail_problems(plan: Plan) -> Iterator[Problem]:
    for rule_id, count in Counter(rule.id for rule in plan.judged_rules).items():
        if count > 1:
            yield Problem(
                CheckId.RULE_ID_TWICE,
                f"{count} rules are called '{rule_id}'.",
                "Give each rule an id of its own.",
            )
    for rule in plan.rules:
        reason = _wrong_with(rule)
        if reason:
            yield Problem(CheckId.WRONG_RULE, f"Rule '{rule.id}' {reason[0]}", reason[1])


def _wrong_with(rule: Rule) -> tuple[str, str] | None:
    if rule.at_most is None and not rule.is_relative:
        return "has no bound.", "Give it at_most, or times and above the baseline."
    if rule.statistic in COUNTED and (rule.at_most is None or rule.is_relative):
        return "counts, and is compared with a baseline.", "Give it at_most alone."
    if not 1 <= rule.broken_windows <= rule.windows:
        return (
            f"wants {rule.broken_windows} of {rule.windows} windows.",
            "Let 1 to all of its windows break it.",
        )
    if rule.seconds < 1 or rule.seconds % INTERVAL_SECONDS:
        return (
            f"has windows of {rule.seconds} s; measurements come every {INTERVAL_SECONDS} s.",
            f"Make a window {INTERVAL_SECONDS} s long or a multiple of that.",
        )
    if rule.seconds * rule.windows > MAX_LOOK_BACK.total_seconds():
        return (
            f"looks back {rule.seconds * rule.windows} s.",
            f"Look back at most {MAX_LOOK_BACK.total_seconds():.0f} s: older measurements are put "
            "together.",
        )
    return None


def gate_problems(plan: Plan) -> Iterator[Problem]:
    for number, phase in enumerate(plan.phases):
        for gate in phase.gates:
            if isinstance(gate, MaintenanceWindow) and (reason := _wrong_with_window(gate)):
                yield Problem(
                    CheckId.WRONG_WINDOW,
                    f"The maintenance window of phase {number} {reason}",
                    "Give it days, hours that differ, and a zone such as 'Europe/Berlin'.",
                )
            if isinstance(gate, ChecklistComplete) and not plan.checklist:
                yield Problem(
                    CheckId.NO_CHECKLIST,
                    f"Phase {number} wants the checklist complete, and the plan has none.",
                    "Give the plan a checklist, or leave the gate out.",
                )
    for item_id, count in Counter(item.id for item in plan.checklist).items():
        if count > 1:
            yield Problem(
                CheckId.ITEM_ID_TWICE,
                f"{count} items of the checklist are called '{item_id}'.",
                "Give each item an id of its own.",
            )


def _wrong_with_window(window: MaintenanceWindow) -> str:
    if window.zone not in available_timezones():
        return f"has the unknown time zone '{window.zone}'."
    if not window.days:
        return "opens on no day."
    if window.opens == window.closes:
        return "closes when it opens."
    return ""
