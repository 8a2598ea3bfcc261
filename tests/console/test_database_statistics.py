"""The database on the monitoring page: now, and before the phase."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from rollout.console.database_statistics import MAX_POINTS
from rollout.models import DatabaseReading, Rollout
from tests.console.journal import PAGE, browser_of, ran, read_out, text_of

pytestmark = pytest.mark.django_db
ADDRESS = f"{PAGE}monitoring/"


def test_the_database_is_shown_now_and_before_the_phase(rollout: Rollout) -> None:
    now = timezone.now()
    ran(rollout, 2, "running")
    rollout.runs.update(created_at=now - timedelta(minutes=20))
    for minutes, wal in ((30, 1), (25, 2), (2, 100), (1, 160), (0, 220)):
        read_out(rollout, ago=timedelta(minutes=minutes, seconds=1), wal=wal)
    page = " ".join(text_of(browser_of("viewer"), ADDRESS).split())
    # 60 MB a minute now, 1 MB in five minutes before.
    assert "1.0 MB/s" in page
    assert "baseline 3.3 kB/s" in page
    assert "12 of 100" in page
    assert "75.0%" in page, "the HOT share"
    assert "10.0%" in page, "the share of dead rows"
    assert "SELECT &lt;b&gt; $1" in page
    assert "25 ms" in page


def test_runs_within_an_hour_share_the_databases_baseline_too(rollout: Rollout) -> None:
    now = timezone.now()
    for phase, minutes in ((1, 50), (2, 20)):
        run = ran(rollout, phase)
        rollout.runs.filter(pk=run.pk).update(created_at=now - timedelta(minutes=minutes))
    for minutes, wal in ((60, 1), (55, 2), (40, 500), (25, 900), (2, 1000), (1, 1060), (0, 1120)):
        read_out(rollout, ago=timedelta(minutes=minutes, seconds=1), wal=wal)
    page = text_of(browser_of("viewer"), ADDRESS)
    assert "baseline 3.3 kB/s" in page, "what phase 1 wrote is no baseline of phase 2"


def test_a_baseline_of_many_readings_is_decoded_in_part(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(rollout, 2, "running")
    read_out(rollout, ago=timedelta(minutes=30), wal=1)
    pattern = DatabaseReading.objects.get()
    at = timezone.now() - timedelta(minutes=31)
    DatabaseReading.objects.bulk_create(
        DatabaseReading(
            rollout=rollout,
            at=at - timedelta(seconds=5 * number),
            seconds=5,
            server=pattern.server,
            tables=pattern.tables,
        )
        for number in range(300)
    )
    rollout.runs.update(created_at=timezone.now() - timedelta(seconds=1))
    read_out(rollout, ago=timedelta(), wal=2)
    decoded: list[Any] = []
    loads = json.loads

    def counting(text: Any, **options: Any) -> Any:
        decoded.append(text)
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", counting)
    assert "baseline" in text_of(browser_of("viewer"), ADDRESS)
    assert 0 < len(decoded) <= 2 * MAX_POINTS
