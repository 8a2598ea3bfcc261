"""Whether the application is hurting: figures, each with what it was before or why it is not
measured."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.utils import timezone

from rollout.console.charts.point_caches import points_and_lately
from rollout.console.charts.sparklines import Sparkline, sparkline_of
from rollout.console.comparisons import RECENT, Compared, compared_with_baseline
from rollout.console.formats import (
    duration,
    milliseconds,
    number,
    percent,
    signed_milliseconds,
)
from rollout.console.guardrails import RuleRow
from rollout.engine.health import MAX_LAG_SECONDS
from rollout.engine.integer_keys import FARTHEST, IntegerKey
from rollout.gates import is_done
from rollout.journal.environments import is_protected
from rollout.logs.texts import counted
from rollout.plan.guardrails import Statistic
from rollout.plan.plan import CONTRACT
from rollout.queries.key_forecasts import widened_key
from rollout.queries.status import RolloutStatus
from rollout.telemetry.operation_stats import OperationStats, Point
from rollout.telemetry.retention import interval_start, width_of_points
from rollout.telemetry.signals import MIN_CALLS

SPAN = timedelta(minutes=30)
MAX_POINTS = 60
# Six readings of the watchdog: an older one says nothing about now.
STALE_AFTER = timedelta(minutes=1)


@dataclass(frozen=True)
class Vital:
    """A figure. Where it is unknown, ``value`` says so, and ``detail`` why or what to do."""

    label: str
    value: str
    detail: str
    is_known: bool = True
    is_bad: bool = False
    needs_people: bool = False
    """Whether a person has to act because it is bad; else it heals itself."""
    is_measured: bool = True
    """False where the project has to do something so that it is measured."""
    is_of_guardrail: bool = False
    """Whether a guardrail judged it, which has an alert of its own."""
    sparkline: Sparkline | None = None


def vitals_of(status: RolloutStatus, rules: Iterable[RuleRow]) -> list[Vital]:
    """p95, errors, lock waits and replica lag of a rollout's application and database, and how long
    the key lasts that the plan widens.

    What a guardrail judges at present is its own figure and verdict.
    """
    now = timezone.now()
    return [*_of_application(status, rules, now), *_of_database(status, now)]


def _of_application(status: RolloutStatus, rules: Iterable[RuleRow], now: datetime) -> list[Vital]:
    labels = ("Application p95", "Errors")
    environment = status.rollout.environment
    if not is_protected(environment):
        detail = f"{environment} is not protected."
        return [Vital(label, "No application", detail, is_known=False) for label in labels]
    width = width_of_points(SPAN, most=MAX_POINTS)
    # Until the end of the current interval: the line changes with what is measured, not by itself.
    since = interval_start(now, int(width.total_seconds())) + width - SPAN
    points, recent = points_and_lately(
        since, now, width=width, plan=status.rollout.plan, operation="", lately=RECENT
    )
    newest = max(status.evidence.runs.values(), key=lambda run: run.pk, default=None)
    compared = compared_with_baseline(newest, recent)
    if not compared and not points:
        detail = "Add the telemetry middleware."
        unmeasured = Vital("", "Not measured", detail, is_known=False, is_measured=False)
        return [replace(unmeasured, label=label) for label in labels]
    every = compared[-1] if compared else Compared("all", OperationStats(), OperationStats())
    vitals = [_latency(labels[0], every), _errors(labels[1], every)]
    if every.now.calls < MIN_CALLS:
        detail = f"{number(every.now.calls)} in {duration(RECENT)}, {MIN_CALLS} needed"
        vitals = [Vital(label, "Too few calls", detail, is_known=False) for label in labels]
    judged = [_judged(rules, statistic, now) for statistic in ("p95", "error_rate")]
    vitals = [
        vital if row is None else _of_guardrail(vital.label, row)
        for vital, row in zip(vitals, judged, strict=True)
    ]
    return [replace(vitals[0], sparkline=_line(points, since, every, width)), vitals[1]]


def _judged(rules: Iterable[RuleRow], statistic: Statistic, now: datetime) -> RuleRow | None:
    """The guardrail that judges a figure of all operations: one that is breached, else the first.

    None while they have too few calls, or are not evaluated.
    """
    rows = [
        row
        for row in rules
        if (row.rule.statistic, row.rule.operation) == (statistic, "")
        and row.verdict in ("kept", "broken")
        and row.state is not None
        and row.state.is_current(now)
    ]
    return next((row for row in rows if row.verdict == "broken"), next(iter(rows), None))


def _of_guardrail(label: str, row: RuleRow) -> Vital:
    """What a guardrail measured last."""
    state = row.state
    assert state is not None
    baseline = "no baseline yet"
    if state.baseline is not None:
        baseline = f"baseline {_written(row, state.baseline)}"
    is_bad = row.verdict == "broken"
    value, detail = _written(row, state.value), f"{row.now}; {baseline}"
    needs_people = is_bad and row.tone == "bad"
    return Vital(
        label, value, detail, is_bad=is_bad, needs_people=needs_people, is_of_guardrail=True
    )


def _written(row: RuleRow, value: float | None) -> str:
    return percent(value or 0.0) if row.rule.is_share else milliseconds(value)


def _latency(label: str, every: Compared) -> Vital:
    detail = f"in {duration(RECENT)}; no baseline yet"
    if every.before.calls >= MIN_CALLS:
        change = signed_milliseconds(every.difference)
        detail = f"in {duration(RECENT)}; baseline {milliseconds(every.before.p95)} ({change})"
    return Vital(label, milliseconds(every.now.p95), detail, is_bad=every.status == "throttle")


def _errors(label: str, every: Compared) -> Vital:
    detail = f"of {number(every.now.calls)} calls in {duration(RECENT)}"
    if every.before.calls >= MIN_CALLS:
        detail += f"; baseline {percent(every.before.error_rate)}"
    return Vital(label, percent(every.now.error_rate), detail, is_bad=every.status == "stop")


def _line(
    points: Sequence[Point], since: datetime, every: Compared, width: timedelta
) -> Sparkline | None:
    measured = [(point.at, p95) for point in points if (p95 := point.stats.p95) is not None]
    baseline = every.before.p95 if every.before.calls >= MIN_CALLS else None
    return sparkline_of(measured, since, SPAN, baseline=baseline, gap=2.5 * width)


def _of_database(status: RolloutStatus, now: datetime) -> list[Vital]:
    labels = ("Lock waits", "Replica lag")
    readings = status.rollout.database_readings.order_by("-at")
    reading = readings.values("at", "server", "tables").first()
    if reading is None or now - reading["at"] > STALE_AFTER:
        if is_done(status.evidence.runs.get(CONTRACT)):
            detail = "Reading ended with the last phase."
        elif status.liveness.watchdog_alive:
            detail = "The database gave no reading in the last minute."
        else:
            detail = "Start the watchdog."
        value = "Not measured"
        run = status.active
        is_new = run is not None and now - run.created_at < STALE_AFTER
        if (reading is None or is_new) and status.liveness.watchdog_alive:
            which = "first" if reading is None else "next"
            value, detail = "Pending", f"The {which} reading comes within a minute."
        return [Vital(label, value, detail, is_known=False) for label in labels]
    server = reading["server"]
    waiting = server.get("lock_waits") or 0
    waits = Vital(
        labels[0],
        number(waiting),
        f"session{'' if waiting == 1 else 's'} waiting",
        is_bad=waiting > 0,
    )
    key = widened_key(status.rollout, status.plan, reading["at"], reading["tables"])
    return [
        waits,
        _lag(labels[1], server.get("replicas") or 0, server.get("lag")),
        *([_range(key)] if key is not None else []),
    ]


def _range(key: IntegerKey) -> Vital:
    """When a key that the plan widens runs out; the preflight warns of one that does soon."""
    label, used = "Key runs out", f"{key.name} has used {percent(key.share)}"
    if key.left is None or key.rate is None:
        detail = f"{used}; its rate is known after a day of readings"
        return Vital(label, "Pending", detail, is_known=False)
    rate = f"{used}; {number(key.rate.per_day)} a day since {key.rate.since:%Y-%m-%d}"
    if key.left >= FARTHEST:
        return Vital(label, "Not in 100 years", rate)
    return Vital(label, f"In {counted(key.left.days, 'day')}", rate)


def _lag(label: str, replicas: float, lag: float | None) -> Vital:
    if not replicas:
        return Vital(label, "None", "no replica connected")
    of = f"{number(replicas)} replica{'' if replicas == 1 else 's'}"
    if lag is None:
        # PostgreSQL reports none for replicas that have caught up, and none to roles without right.
        return Vital(label, "None", f"reported by {of}")
    return Vital(label, duration(lag), f"at most, of {of}", is_bad=lag > MAX_LAG_SECONDS)
