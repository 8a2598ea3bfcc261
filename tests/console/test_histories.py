"""The timeline as the page of a rollout shows it."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from rollout.console.histories import SHORTEST, Timeline, timeline_of
from rollout.models import LogEntry, PhaseRun, Rollout
from rollout.queries import timelines
from tests.console import journal
from tests.console.journal import PAGE, noted, ran, text_of


def drawn(rollout: Rollout) -> Timeline:
    timeline = timeline_of(rollout)
    assert timeline is not None
    return timeline


def rows_of(text: str) -> list[str]:
    """The rows of the list that says the same, without markup."""
    body = text.split('aria-label="Timeline as a list"')[1].split("<tbody>")[1].split("</tbody>")[0]
    rows = body.split("</tr>")[:-1]
    return [" ".join(re.sub("<[^>]+>", " ", row).split()) for row in rows]


def test_nothing_that_happened_makes_no_timeline(rollout: Rollout, viewer: Client) -> None:
    assert timeline_of(rollout) is None
    assert 'id="timeline"' not in text_of(viewer, PAGE)


def test_every_mark_leads_somewhere_and_stands_in_the_list(
    rollout: Rollout, viewer: Client
) -> None:
    ran(rollout, 0, created_at=timezone.now())
    approved = noted(rollout, "approved", actor="ada")
    report = journal.audited(rollout, "mismatched", mismatched=2)
    noted(rollout, "audit done", data={"report": report.pk, "status": "mismatched"})
    text = text_of(viewer, PAGE)
    addresses = [
        f"{PAGE}phases/0/",
        f"{PAGE}activity/{approved.pk}/",
        f"/rollout/audits/{report.pk}/",
    ]
    for address in addresses:
        assert text.count(f'<a href="{address}" tabindex="-1"') == 1
        assert viewer.get(address).status_code == 200
    rows = rows_of(text)
    assert len(rows) == 3
    assert any(row.endswith("Phase 0: Done grace") for row in rows)
    assert any(row.endswith(" Approved ada") and "–" not in row for row in rows), "it lasts no time"
    assert any("Audit mismatched" in row for row in rows)


@pytest.mark.parametrize(
    ("events", "what", "tone"),
    [
        (["throttled by rule"], "Throttled by a guardrail", "warn"),
        (["rule kept again"], "Guardrail OK again", "good"),
        (["throttled by rule", "rule kept again"], "Throttled by a guardrail, Guardrail", "warn"),
    ],
)
def test_a_guardrail_that_is_ok_again_is_a_moment_too(
    rollout: Rollout, events: list[str], what: str, tone: str
) -> None:
    for event in events:
        noted(rollout, event)
    (mark,) = (mark for row in drawn(rollout).rows for mark in row.marks)
    assert mark.what.startswith(what)
    assert mark.tone == tone


def test_a_rollback_and_a_failure_are_identified_by_shape_and_word(
    rollout: Rollout, viewer: Client
) -> None:
    now = timezone.now()
    for phase, direction, state, minutes in (
        (1, "forward", "failed", 50),
        (2, "backward", "done", 30),
        (3, "forward", "running", 10),
    ):
        run = ran(rollout, phase, state, direction=direction)
        PhaseRun.objects.filter(pk=run.pk).update(created_at=now - timedelta(minutes=minutes))
    marks = {mark.what: mark for row in drawn(rollout).rows for mark in row.marks}
    assert marks["Phase 1: Failed"].icon == "failed"
    assert marks["Rollback of phase 2: Rolled back"].is_backward
    assert marks["Phase 3: Running"].until is None
    text = text_of(viewer, PAGE)
    assert text.count('fill="url(#backward)"') == 1
    assert any("running Phase 3: Running" in row for row in rows_of(text))


def test_many_marks_are_put_together_with_their_number(rollout: Rollout, viewer: Client) -> None:
    ran(rollout, 0)
    for _ in range(12):
        noted(rollout, "audit done", data={"status": "clean"})
    (row,) = [row for row in drawn(rollout).rows if row.name == "Checks"]
    assert sum(int(mark.text or 1) for mark in row.marks) == 12
    assert row.marks[-1].what.endswith("Audit clean")
    if len(row.marks) == 1:
        assert row.marks[0].url == f"{PAGE}activity/"


def test_the_latency_has_the_axis_of_the_marks(rollout: Rollout) -> None:
    now = timezone.now()
    run = ran(rollout, 0)
    PhaseRun.objects.filter(pk=run.pk).update(created_at=now - timedelta(hours=3))
    assert drawn(rollout).plot is None
    journal.measured(now - timedelta(hours=1), ms=40)
    timeline = drawn(rollout)
    assert timeline.plot is not None
    assert timeline.since == now - timedelta(hours=3), "it begins with the rollout and stays there"
    assert now < timeline.until <= now + timedelta(hours=1)
    ((_, line),) = timeline.plot.lines
    x = float(line.paths[0].split(",")[0])
    share = (now - timedelta(hours=1) - timeline.since) / (timeline.until - timeline.since)
    assert abs(x / 1000 - share) < 0.05


def test_names_in_the_log_are_never_markup(rollout: Rollout, viewer: Client) -> None:
    noted(rollout, "approved", actor="<script>x</script>")
    assert "<script>x" not in text_of(viewer, PAGE)
    assert LogEntry.objects.get().actor == "<script>x</script>"


def test_a_timeline_says_where_older_events_are_left_out(
    rollout: Rollout, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        noted(rollout, "approved")
    assert "Last 15 min" in text_of(viewer, PAGE), "the axis begins before the rollout"
    ran(rollout, 0)
    rollout.runs.update(created_at=timezone.now() - 2 * SHORTEST)
    assert "Since the rollout started" in text_of(viewer, PAGE)
    monkeypatch.setattr(timelines, "MAX_MOMENTS", 1)
    assert "Newest events" in text_of(viewer, PAGE)


@pytest.mark.usefixtures("shared_parts")
def test_a_cached_timeline_is_no_older_than_the_newest_entry_and_the_runs(
    rollout: Rollout, viewer: Client
) -> None:
    run = ran(rollout, 0, "running", created_at=timezone.now())
    (running,) = rows_of(text_of(viewer, PAGE))
    assert running.endswith("Phase 0: Running grace")
    PhaseRun.objects.filter(pk=run.pk).update(state="paused")
    (paused,) = rows_of(text_of(viewer, PAGE))
    assert paused.endswith("Phase 0: Paused grace")
    noted(rollout, "approved", actor="ada")
    assert len(rows_of(text_of(viewer, PAGE))) == 2
