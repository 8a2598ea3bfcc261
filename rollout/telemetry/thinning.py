"""Puts old measurements together, so that weeks of them are read as quickly as an hour."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from rollout import journal
from rollout.models import Measurement, ShadowTally
from rollout.models.shadow import OUTCOMES
from rollout.telemetry.histogram import Histogram, total
from rollout.telemetry.recorder import INTERVAL_SECONDS


@dataclass(frozen=True)
class Rule:
    """Measurements older than ``after`` are kept in intervals of ``seconds``."""

    after: timedelta
    seconds: int


RULES = (
    # The processes of one interval. Rules of a plan read these for a few minutes (LONGEST_LOOK).
    Rule(timedelta(seconds=30), INTERVAL_SECONDS),
    Rule(timedelta(minutes=6), 30),
    Rule(timedelta(hours=1), 60),
    Rule(timedelta(hours=2), 300),
    Rule(timedelta(hours=12), 1800),
    Rule(timedelta(days=2), 7200),
    Rule(timedelta(days=7), 21600),
)
"""``ROLLOUT["TELEMETRY_THINNING"]``, [(timedelta, seconds)], takes their place."""
KEPT = timedelta(days=30)
_AT_ONCE = timedelta(hours=1)
"""One transaction puts so much time together: a reader sees either all of it as it was or after."""


def width_of_points(span: timedelta, *, most: int) -> timedelta:
    """How long a point of a plot of so much time is: whole intervals, as old as they may be."""
    seconds = max([INTERVAL_SECONDS, *(r.seconds for r in rules() if r.after < span)])
    wanted = span.total_seconds() / most
    return timedelta(seconds=seconds * max(1, math.ceil(wanted / seconds)))


def whole(moment: datetime, seconds: int) -> datetime:
    """The beginning of the interval that a moment lies in."""
    number = int(moment.timestamp()) // seconds
    return datetime.fromtimestamp(number * seconds, UTC)


@dataclass(frozen=True)
class Kind:
    """A model of sums over intervals: what tells rows apart, what is added up, what is merged."""

    model: Any
    keys: tuple[str, ...]
    counts: tuple[str, ...]
    histograms: tuple[str, ...]

    def finer(self, rule: Rule) -> Q:
        """Rows that a rule puts together, were they old enough."""
        shorter = Q(seconds__lt=rule.seconds)
        if self.model is Measurement:
            return shorter | Q(seconds=rule.seconds) & ~Q(process="")
        return shorter


MEASUREMENTS = Kind(
    Measurement,
    keys=("operation", "read_mode", "write_mode"),
    counts=("calls", "errors", "queries", "database_seconds"),
    histograms=("durations",),
)
SHADOW_TALLIES = Kind(
    ShadowTally,
    keys=("rollout_id", "operation"),
    counts=("compared", *OUTCOMES, "skipped"),
    histograms=("old_durations", "new_durations"),
)


def thin(*, now: datetime | None = None) -> int:
    """Put together what is due and forget what is too old; how many rows that saved.

    ``ROLLOUT["TELEMETRY_KEPT"]``, a timedelta, says how long measurements are kept.
    """
    now = now or timezone.now()
    kept: timedelta = getattr(settings, "ROLLOUT", {}).get("TELEMETRY_KEPT", KEPT)
    saved = 0
    for kind in (MEASUREMENTS, SHADOW_TALLIES):
        rows = kind.model._default_manager
        saved += rows.filter(at__lt=now - kept).delete()[0]
        for rule in rules():
            finer = rows.filter(
                kind.finer(rule), at__lt=whole(now - rule.after, rule.seconds)
            ).order_by("at")
            while (first := finer.first()) is not None:
                length = max(_AT_ONCE, timedelta(seconds=rule.seconds))
                until = whole(first.at, rule.seconds) + length
                keys = list(finer.filter(at__lt=until).values_list("pk", flat=True))
                saved += _together(kind, keys, rule)
    return saved


def rules() -> tuple[Rule, ...]:
    """From the finest to the coarsest."""
    configured = getattr(settings, "ROLLOUT", {}).get("TELEMETRY_THINNING")
    return RULES if configured is None else tuple(Rule(*rule) for rule in configured)


def _together(kind: Kind, keys: Sequence[int], rule: Rule) -> int:
    manager = kind.model._default_manager
    with journal.atomic():
        rows: list[Any] = list(manager.select_for_update().filter(pk__in=keys))
        parts: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
        for row in rows:
            names = (getattr(row, key) for key in kind.keys)
            parts[whole(row.at, rule.seconds), *names].append(row)
        manager.filter(pk__in=[row.pk for row in rows]).delete()
        manager.bulk_create(
            kind.model(
                at=at,
                seconds=rule.seconds,
                **dict(zip(kind.keys, names, strict=True)),
                **{name: sum(getattr(row, name) for row in part) for name in kind.counts},
                **{
                    name: total(Histogram.of_json(getattr(row, name)) for row in part).as_json()
                    for name in kind.histograms
                },
            )
            for (at, *names), part in parts.items()
        )
    return len(rows) - len(parts)
