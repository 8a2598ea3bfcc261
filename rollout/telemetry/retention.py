"""Adds old measurements up over longer intervals, and deletes those past their retention."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Q
from django.utils import timezone

from rollout import journal
from rollout.conf import setting
from rollout.models import Measurement, ShadowTally
from rollout.models.shadow import OUTCOMES
from rollout.telemetry.histograms import Histogram, total
from rollout.telemetry.recorder import INTERVAL_SECONDS


class Resolution(NamedTuple):
    """Measurements older than ``after`` are kept in intervals of ``seconds``."""

    after: timedelta
    seconds: int


# ``ROLLOUT["TELEMETRY_THINNING"]``, [(timedelta, seconds)], replaces them.
RESOLUTIONS = (
    # The processes of one interval. Rules of a plan read these for a few minutes (MAX_LOOK_BACK).
    Resolution(timedelta(seconds=30), INTERVAL_SECONDS),
    Resolution(timedelta(minutes=6), 30),
    Resolution(timedelta(hours=1), 60),
    Resolution(timedelta(hours=2), 300),
    Resolution(timedelta(hours=12), 1800),
    Resolution(timedelta(days=2), 7200),
    Resolution(timedelta(days=7), 21600),
)
RETENTION = timedelta(days=30)
# What one transaction adds up: a reader sees all of it either before or after.
_SPAN = timedelta(hours=1)


def width_of_points(span: timedelta, *, most: int) -> timedelta:
    """The width of a point in a plot of such a span: a multiple of its coarsest interval."""
    seconds = longest_interval(span).total_seconds()
    wanted = span.total_seconds() / most
    return timedelta(seconds=seconds * max(1, math.ceil(wanted / seconds)))


def longest_interval(age: timedelta) -> timedelta:
    """The longest interval that measurements of an age, and newer ones, are kept in."""
    seconds = [INTERVAL_SECONDS, *(r.seconds for r in resolutions() if r.after < age)]
    return timedelta(seconds=max(seconds))


def interval_start(moment: datetime, seconds: int) -> datetime:
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

    def finer(self, resolution: Resolution) -> Q:
        """Rows that are added up once they are old enough."""
        shorter = Q(seconds__lt=resolution.seconds)
        if self.model is Measurement:
            return shorter | Q(seconds=resolution.seconds) & ~Q(process="")
        return shorter


MEASUREMENTS = Kind(
    Measurement,
    keys=("operation", "plan", "read_mode", "write_mode"),
    counts=("calls", "errors", "queries", "database_seconds"),
    histograms=("durations",),
)
SHADOW_TALLIES = Kind(
    ShadowTally,
    keys=("rollout_id", "operation"),
    counts=("compared", *OUTCOMES, "skipped"),
    histograms=("old_durations", "new_durations"),
)


def downsample(*, now: datetime | None = None) -> int:
    """Add up what is due and delete what is too old; how many rows that saved.

    ``ROLLOUT["TELEMETRY_KEPT"]``, a timedelta, says how long measurements are kept.
    """
    now = now or timezone.now()
    retention = setting("TELEMETRY_KEPT", RETENTION)
    saved = 0
    for kind in (MEASUREMENTS, SHADOW_TALLIES):
        rows = kind.model._default_manager
        saved += rows.filter(at__lt=now - retention).delete()[0]
        for resolution in resolutions():
            finer = rows.filter(
                kind.finer(resolution),
                at__lt=interval_start(now - resolution.after, resolution.seconds),
            ).order_by("at")
            while (first := finer.first()) is not None:
                length = max(_SPAN, timedelta(seconds=resolution.seconds))
                until = interval_start(first.at, resolution.seconds) + length
                keys = list(finer.filter(at__lt=until).values_list("pk", flat=True))
                saved += _add_up(kind, keys, resolution)
    return saved


def resolutions() -> tuple[Resolution, ...]:
    """From the finest to the coarsest."""
    return tuple(Resolution(*pair) for pair in setting("TELEMETRY_THINNING", RESOLUTIONS))


def _add_up(kind: Kind, keys: Sequence[int], resolution: Resolution) -> int:
    manager = kind.model._default_manager
    with journal.atomic():
        rows: list[Any] = list(manager.select_for_update().filter(pk__in=keys))
        parts: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
        for row in rows:
            names = (getattr(row, key) for key in kind.keys)
            parts[interval_start(row.at, resolution.seconds), *names].append(row)
        manager.filter(pk__in=[row.pk for row in rows]).delete()
        manager.bulk_create(
            kind.model(
                at=at,
                seconds=resolution.seconds,
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
