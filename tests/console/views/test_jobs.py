from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.conf import LazySettings
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from rollout.engine import lane_totals
from rollout.engine.health import Signal
from rollout.engine.pace_records import PaceRecord
from rollout.engine.throttles import Throttle
from rollout.models import BackfillJob, Rollout
from tests.console import journal
from tests.console.journal import fragment_of, ran, reached, text_of
from tests.console.views.backfill_jobs import (
    a_job,
    a_lane,
    an_ended_job,
    end_beside,
    measured,
    page_of,
    refused,
)
from tests.support.rollouts import target

HOSTILE = '"><script>alert(1)</script>'


@pytest.mark.usefixtures("clean_target")
def test_a_running_job_shows_what_its_lanes_count(rollout: Rollout, lead: Client) -> None:
    job = a_job(rollout)
    a_lane(job)
    text = text_of(lead, page_of(job))
    assert '<progress value="0.2500" max="1"' in text
    for shown in ("25.0%", "6,250", "6,000", "<dd>250</dd>", "12,500", "about 2 s"):
        assert shown in text
    assert "1 of 1 active: <code>host:7</code>" in text
    assert "quarantine-heading" not in text
    assert 'id="verb-pause"' in text
    assert f'hx-get="{page_of(job)}"' in text
    assert "8 stripes: &lt;so many&gt; rows a block." in text


@pytest.mark.usefixtures("clean_target")
def test_scanned_is_updated_and_already_right_and_in_quarantine(
    rollout: Rollout, viewer: Client
) -> None:
    job = a_job(rollout)
    a_lane(job, quarantined=40)
    text = text_of(viewer, page_of(job))
    assert '<a href="#quarantine">40</a>' in text
    assert "<dd>210</dd>" in text
    ended = an_ended_job(rollout, scanned=100, updated=90, already_right=7, quarantined=3)
    text = text_of(viewer, page_of(ended))
    for shown in ("100", "90", "7"):
        assert f"<dd>{shown}</dd>" in text
    assert '<a href="#quarantine">3</a>' in text
    assert "right since" not in text
    # By a repair, or because people decided that they stay empty.
    BackfillJob.objects.filter(pk=ended.pk).update(quarantined=0)
    text = text_of(viewer, page_of(ended))
    assert "<dt>Quarantined at first, right since</dt><dd>3</dd>" in text
    assert "<dd>7</dd>" in text


@pytest.mark.usefixtures("clean_target")
def test_a_job_whose_blocks_are_done_is_in_its_final_sweep(
    rollout: Rollout, viewer: Client
) -> None:
    job = a_job(rollout)
    a_lane(job, next_block=1000, done=True)
    text = text_of(viewer, page_of(job))
    assert "Final sweep" in text
    assert "about" not in text[text.index('id="live"') : text.index('id="plot"')]


def test_a_finished_job_shows_its_totals_and_stops_asking(rollout: Rollout, lead: Client) -> None:
    job = an_ended_job(
        rollout,
        seconds=40,
        scanned=2_000_000,
        updated=1_999_000,
        already_right=1_000,
        working_seconds=31.4,
    )
    text = text_of(lead, page_of(job))
    for shown in ("2,000,000", "1,999,000", "1,000", "50,000", "<dd>40 s</dd>", "31 s"):
        assert shown in text
    assert 'id="live" data-live' not in text
    assert 'id="verb-' not in text
    assert 'id="set-pace"' not in text


def test_a_failed_job_says_why_and_what_to_do_next(rollout: Rollout, viewer: Client) -> None:
    job = a_job(rollout, "failed")
    run = job.step_run.run
    text = text_of(viewer, page_of(job))
    assert "Retry the phase: the job continues from its last checkpoint." in text
    run.error, run.advice = "no such <kind>", "Map the value first."
    run.save()
    text = text_of(viewer, page_of(job))
    for shown in (
        "no such &lt;kind&gt;",
        "Map the value first.",
        f'href="{journal.PAGE}phases/2/"',
    ):
        assert shown in text


def test_the_plan_of_a_job_stands_behind_rows_chart_and_signals(
    rollout: Rollout, engineer: Client
) -> None:
    text = text_of(engineer, page_of(a_job(rollout)))
    places = [text.index(f'id="{name}"') for name in ("live", "plot", "health", "pace")]
    assert [*places, text.index("<summary>Execution plan")] == sorted(
        [*places, text.index("<summary>Execution plan")]
    )


def test_a_paused_job_can_be_resumed_and_stops_asking(rollout: Rollout, engineer: Client) -> None:
    job = a_job(rollout, "paused")
    text = text_of(engineer, page_of(job))
    assert 'id="verb-resume"' in text
    assert 'id="verb-cancel"' not in text
    assert 'id="live" data-live' not in text
    assert 'id="set-pace"' in text


@pytest.mark.usefixtures("clean_target")
def test_a_fragment_is_the_living_parts_and_leaves_the_form_alone(
    rollout: Rollout, lead: Client
) -> None:
    job = a_job(rollout)
    fragment = fragment_of(lead, page_of(job))
    assert "<html" not in fragment
    assert "Execution plan" not in fragment
    assert "<details" not in fragment
    for part in ("plot", "numbers", "health", "quarantine"):
        assert f'id="{part}" hx-swap-oob="morph"' in fragment
    assert 'id="pace"' not in fragment
    assert "hx-swap-oob" not in text_of(lead, page_of(job))


def test_the_last_fragment_takes_the_form_away(rollout: Rollout, lead: Client) -> None:
    fragment = fragment_of(lead, page_of(an_ended_job(rollout)))
    assert 'id="pace" hx-swap-oob="morph"' in fragment
    assert "<form" not in fragment


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("fill", "Backfill"),
        ("compute", "Compute"),
        ("clear", "Clear new columns"),
        ("restore", "Restore legacy values"),
    ],
)
def test_a_job_says_what_it_does(rollout: Rollout, viewer: Client, kind: str, words: str) -> None:
    job = a_job(rollout, kind=kind)
    assert f"{words} of properties" in text_of(viewer, page_of(job))


# Quarantine


@pytest.mark.usefixtures("clean_target")
def test_rows_in_quarantine_are_shown_with_the_reason(
    rollout: Rollout, lead: Client, settings: LazySettings
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "ROW_URLS": {"properties": "/properties/{key}/"}}
    job = an_ended_job(rollout, quarantined=2)
    refused(job, "a/b", HOSTILE, error=HOSTILE)
    text = text_of(lead, page_of(job))
    assert '<a href="/properties/a%2Fb/"><code>a/b</code></a>' in text
    assert "<script>alert" not in text
    assert text.count("&quot;&gt;&lt;script&gt;") == 3
    assert 'id="retry-quarantined"' in text
    assert "The job stops after 50 quarantined rows." in text


@pytest.mark.usefixtures("clean_target")
def test_only_the_first_hundred_are_listed(rollout: Rollout, viewer: Client) -> None:
    job = an_ended_job(rollout, quarantined=130)
    refused(job, *(f"row-{n:03}" for n in range(130)))
    text = text_of(viewer, page_of(job))
    assert "row-099" in text
    assert "row-100" not in text
    assert "The first 100 of 130 rows." in text
    assert 'id="retry-quarantined"' not in text


@pytest.mark.usefixtures("clean_target")
def test_rows_are_tried_again_once_the_job_is_not_at_work(
    rollout: Rollout, engineer: Client
) -> None:
    running = a_job(rollout)
    refused(running, "a")
    assert 'id="retry-quarantined"' not in text_of(engineer, page_of(running))
    text = engineer.post(f"{page_of(running)}retry-quarantined/", follow=True).content.decode()
    assert "The job is running." in text
    running.step_run.run.delete()

    job = an_ended_job(rollout, quarantined=1)
    refused(job, "a")
    response = engineer.post(f"{page_of(job)}retry-quarantined/", follow=True)
    text = response.content.decode()
    assert response.redirect_chain == [(page_of(job), 302)]
    assert "Retrying quarantined rows." in text
    assert "Retrying</span>" in text
    assert f'hx-get="{page_of(job)}"' in text
    journal.noted(
        rollout,
        "quarantine retried",
        data={"job": job.pk},
        message="0 rows of properties that had been refused are written now.",
    )
    fragment = fragment_of(engineer, page_of(job))
    assert f'hx-get="{page_of(job)}"' not in fragment
    assert "0 rows of properties that had been refused are written now." in fragment
    assert 'id="retry-quarantined"' in fragment


@pytest.mark.usefixtures("clean_target")
def test_results_of_another_jobs_rows_are_not_shown_here(rollout: Rollout, lead: Client) -> None:
    earlier = an_ended_job(rollout)
    journal.noted(rollout, "quarantine retried", data={"job": earlier.pk}, message="All of them.")
    job = an_ended_job(rollout)
    refused(job, "a")
    assert "Last retry" not in text_of(lead, page_of(job))


# History


def test_a_running_job_is_listed_by_the_rows_that_it_expects(
    rollout: Rollout, viewer: Client
) -> None:
    ended = an_ended_job(rollout, scanned=300)
    running = a_job(rollout)
    text = text_of(viewer, f"/rollout/{journal.PLAN}/production/jobs/", order="most-rows")
    assert text.index(f"Backfill {running.pk}<") < text.index(f"Backfill {ended.pk}<")
    row = text.partition(f"Backfill {running.pk}<")[2].partition("</tr>")[0]
    assert "</svg>Running<" in row
    assert "about 25,000 rows" in row


def test_earlier_jobs_of_the_step_are_listed(rollout: Rollout, viewer: Client) -> None:
    first = an_ended_job(rollout, scanned=5000, seconds=10)
    other = journal.ended_job(reached(ran(rollout, 2), "backfill-images"), scanned=777_777)
    job = a_job(rollout)
    lists = {page_of(job): 'id="history"', f"{journal.PAGE}phases/2/": "Previous runs of this step"}
    for page, heading in lists.items():
        text = text_of(viewer, page)
        earlier = text[text.index(heading) :]
        assert f'href="{page_of(first)}"' in earlier
        for shown in ("5,000", "500", "10 s", "grace"):
            assert shown in earlier
    assert f'href="{page_of(other)}"' not in text_of(viewer, page_of(job))
    assert "Previous runs" not in text_of(viewer, page_of(first))


# All of it


@pytest.mark.usefixtures("clean_target")
def test_the_number_of_queries_does_not_grow_with_what_there_is(
    rollout: Rollout, lead: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    execute = psycopg.Connection.execute

    def counting(self: Any, *arguments: Any, **named: Any) -> Any:
        asked.append(arguments[0])
        return execute(self, *arguments, **named)

    def queries() -> int:
        asked.clear()
        # What is kept for a moment is requested each time, however long this test takes.
        cache.clear()
        return journal.queries_of(lambda: text_of(lead, page_of(job))) + len(asked)

    an_ended_job(rollout)
    job = a_job(rollout)
    a_lane(job)
    measured(job, 1)
    refused(job, "a")
    # The header reads no progress of a run that is not the newest of its phase.
    end_beside(job, rollout)
    with target() as opened:
        PaceRecord(opened, job.pk, "host:6").record(Throttle(), 1)
    monkeypatch.setattr(psycopg.Connection, "execute", counting)
    before = queries()
    monkeypatch.undo()
    for number in range(1, 5):
        a_lane(job, lane=number)
    with target() as opened:
        opened.execute("DELETE FROM rollout.throughputs")
        assert lane_totals.totals(opened, job.pk).scanned == 5 * 6250
    measured(job, 100)
    refused(job, *"bcdefgh")
    with target() as opened:
        for number in range(3):
            cause = Signal(f"sign {number}", "throttle", "It is slow.")
            PaceRecord(opened, job.pk, "host:7").record(Throttle(0.5, cause), 1)
    job.step_run.run.steps.exclude(pk=job.step_run.pk).delete()
    for _ in range(3):
        end_beside(job, rollout)
    monkeypatch.setattr(psycopg.Connection, "execute", counting)
    assert queries() == before


def test_a_finished_job_names_the_time_that_its_run_stood_still(
    rollout: Rollout, viewer: Client
) -> None:
    now = timezone.now()
    halts = [[(now - timedelta(seconds=n)).isoformat() for n in (40, 8)]]
    run = ran(rollout, 2, halts=halts)
    job = journal.ended_job(reached(run, "backfill"), seconds=107)
    text = text_of(viewer, job.get_absolute_url())
    assert "<dt>Duration</dt><dd>1 min 15 s</dd>" in text
    assert '<span class="number">32 s</span>, not in the duration' in text
    run.halts = []
    run.save()
    assert "not in the duration" not in text_of(viewer, job.get_absolute_url())
