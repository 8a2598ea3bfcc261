"""How long statistics of the databases are kept, and how finely."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from rollout import journal
from rollout.models import DatabaseSample
from rollout.watchdog.database_stats import added_up

# Samples older than that are kept once in so many seconds; counters lose nothing by it.
THINNED = (
    (timedelta(minutes=15), 60),
    (timedelta(hours=2), 300),
    (timedelta(hours=12), 1800),
    (timedelta(days=2), 7200),
    (timedelta(days=7), 21600),
)
KEPT = timedelta(days=30)


def thin_samples(*, now: datetime | None = None) -> int:
    """Keep the last sample of each longer stretch, with the statements of all; how many went."""
    now = now or timezone.now()
    kept: timedelta = getattr(settings, "ROLLOUT", {}).get("TELEMETRY_KEPT", KEPT)
    gone, _ = DatabaseSample.objects.filter(at__lt=now - kept).delete()
    for after, seconds in THINNED:
        finer = DatabaseSample.objects.filter(at__lt=now - after, seconds__lt=seconds)
        with journal.atomic():
            parts: dict[tuple[int, int], list[DatabaseSample]] = defaultdict(list)
            for sample in finer.select_for_update():
                parts[sample.rollout_id, int(sample.at.timestamp()) // seconds].append(sample)
            for part in parts.values():
                last = part[-1]
                last.seconds, last.statements = seconds, _added_up(part)
                last.save(update_fields=["seconds", "statements"])
                DatabaseSample.objects.filter(pk__in=[one.pk for one in part[:-1]]).delete()
                gone += len(part) - 1
    return gone


def _added_up(samples: Iterable[DatabaseSample]) -> list[dict[str, Any]] | None:
    known = [sample.statements for sample in samples if sample.statements is not None]
    return None if not known else added_up(one for some in known for one in some)
