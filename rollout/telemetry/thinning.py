"""Puts old measurements together, so that weeks of them are read as quickly as an hour."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from rollout.models import Measurement
from rollout.telemetry.histogram import Histogram, total


@dataclass(frozen=True)
class Rule:
    """Measurements older than ``after`` are kept in intervals of ``seconds``."""

    after: timedelta
    seconds: int


RULES = (Rule(timedelta(hours=2), 60), Rule(timedelta(days=2), 1800))
KEPT = timedelta(days=30)
_AT_ONCE = timedelta(hours=1)
"""One transaction puts so much time together: a reader sees either all of it as it was or after."""


def thin(*, now: datetime | None = None) -> int:
    """Put together what is due and forget what is too old; how many rows that saved.

    ``ROLLOUT["TELEMETRY_KEPT"]``, a timedelta, says how long measurements are kept.
    """
    now = now or timezone.now()
    kept: timedelta = settings.ROLLOUT.get("TELEMETRY_KEPT", KEPT)
    saved, _ = Measurement.objects.filter(at__lt=now - kept).delete()
    for rule in RULES:
        finer = Measurement.objects.filter(
            at__lt=_whole(now - rule.after, rule.seconds), seconds__lt=rule.seconds
        ).order_by("at")
        while (first := finer.first()) is not None:
            until = _whole(first.at, rule.seconds) + max(_AT_ONCE, timedelta(seconds=rule.seconds))
            saved += _together(finer.filter(at__lt=until).values_list("pk", flat=True), rule)
    return saved


def _together(keys: Iterable[int], rule: Rule) -> int:
    with transaction.atomic():
        rows = list(Measurement.objects.select_for_update().filter(pk__in=list(keys)))
        parts: dict[tuple[datetime, str, str, str], list[Measurement]] = defaultdict(list)
        for row in rows:
            at = _whole(row.at, rule.seconds)
            parts[at, row.operation, row.read_mode, row.write_mode].append(row)
        Measurement.objects.filter(pk__in=[row.pk for row in rows]).delete()
        Measurement.objects.bulk_create(
            Measurement(
                at=at,
                seconds=rule.seconds,
                operation=operation,
                read_mode=read,
                write_mode=write,
                calls=sum(row.calls for row in part),
                errors=sum(row.errors for row in part),
                queries=sum(row.queries for row in part),
                database_seconds=sum(row.database_seconds for row in part),
                durations=total(Histogram.of_json(row.durations) for row in part).as_json(),
            )
            for (at, operation, read, write), part in parts.items()
        )
    return len(rows) - len(parts)


def _whole(moment: datetime, seconds: int) -> datetime:
    """The beginning of the interval that a moment lies in."""
    number = int(moment.timestamp()) // seconds
    return datetime.fromtimestamp(number * seconds, UTC)
