import pytest
from django.test import Client
from django.utils import timezone

from rollout.models import BackfillJob, Rollout
from tests.console import journal
from tests.console.journal import fragment_of, ran, reached, text_of
from tests.rollouts import target
from tests.servers import Database


def a_job(rollout: Rollout, state: str = "running", **fields: object) -> BackfillJob:
    return journal.job_of(reached(ran(rollout, 2, state), "backfill", "running"), **fields)


def test_a_running_job_shows_what_its_lanes_count(committed_db: Database) -> None:
    lead, job = journal.browser_of("lead"), a_job(journal.the_rollout())
    with target() as connection:
        connection.execute(
            "INSERT INTO rollout.lanes (job, lane, first_block, end_block, next_block,"
            " range_blocks, range_end, scanned, updated, rows_per_second)"
            " VALUES (%s, 0, 0, 1000, 250, 8, 258, 6250, 6000, 12500)",
            [job.pk],
        )
    text = text_of(lead, f"/rollout/jobs/{job.pk}/")
    assert '<progress value="0.2500" max="1"' in text
    for shown in ("25.0%", "6,250", "6,000", "<dd>250</dd>", "12,500", "1.5 s"):
        assert shown in text
    assert 'id="verb-pause"' in text
    assert f'hx-get="/rollout/jobs/{job.pk}/"' in text
    assert "8 stripes: &lt;so many&gt; rows a block." in text


def test_a_finished_job_shows_its_totals_and_stops_asking(rollout: Rollout, lead: Client) -> None:
    job = a_job(
        rollout,
        "done",
        finished_at=timezone.now(),
        scanned=2_000_000,
        updated=1_999_000,
        already_right=1_000,
        working_seconds=31.4,
    )
    text = text_of(lead, f"/rollout/jobs/{job.pk}/")
    for shown in ("2,000,000", "1,999,000", "1,000", "63,694", "31 s"):
        assert shown in text
    assert "hx-get" not in text
    assert 'id="verb-' not in text


def test_a_paused_job_can_be_resumed_and_stops_asking(rollout: Rollout, engineer: Client) -> None:
    job = a_job(rollout, "paused")
    text = text_of(engineer, f"/rollout/jobs/{job.pk}/")
    assert 'id="verb-resume"' in text
    assert 'id="verb-cancel"' not in text
    assert "hx-get" not in text


def test_the_fragment_of_a_job_is_its_living_part(rollout: Rollout, viewer: Client) -> None:
    fragment = fragment_of(viewer, f"/rollout/jobs/{a_job(rollout).pk}/")
    assert "<html" not in fragment
    assert "How it was planned" not in fragment


@pytest.mark.parametrize("kind", ["fill", "clear", "restore"])
def test_a_job_says_what_it_does(rollout: Rollout, viewer: Client, kind: str) -> None:
    words = {"fill": "Backfill of", "clear": "Clearing of", "restore": "Restore of"}
    job = a_job(rollout, kind=kind)
    assert f"{words[kind]} properties" in text_of(viewer, f"/rollout/jobs/{job.pk}/")
