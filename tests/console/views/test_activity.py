import csv
import json
from datetime import datetime, timedelta
from io import StringIO
from itertools import pairwise

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.utils import timezone

from rollout.journal import activity_log
from rollout.models import LogCheck, LogEntry, PhaseRun, Rollout
from rollout.queries.activity import MAX_OF_RUN
from tests.console import journal
from tests.console.journal import noted, text_of
from tests.console.test_queries import counted

LOG = "/rollout/log/"


def test_the_log_shows_who_did_what_with_its_data(rollout: Rollout, viewer: Client) -> None:
    noted(rollout, "phase started", phase=2, message="<i>Started</i>", data={"rows": 7})
    text = text_of(viewer, LOG)
    assert "&lt;i&gt;Started&lt;/i&gt;" in text
    assert "&quot;rows&quot;: 7" in text
    assert "production, phase 2" in text


def test_a_retry_stands_in_the_line_of_its_run_and_on_its_page(
    rollout: Rollout, viewer: Client
) -> None:
    now = timezone.now().isoformat()
    run = journal.ran(rollout, 2, actor_name="ada", halts=[[now, now]])
    noted(rollout, "phase started", phase=2, actor="ada", data={"run": run.pk})
    noted(rollout, "retried", phase=2, actor="grace", data={"run": run.pk})
    assert "Retried by <strong>grace</strong>, " in text_of(viewer, LOG)
    page = text_of(viewer, f"{journal.PAGE}phases/2/")
    assert "<dt>Started by</dt><dd>ada</dd>" in page
    assert "<dt>Retried by</dt><dd>grace, " in page


def test_the_activity_of_a_rollout_is_its_own_and_asks_for_no_plan(
    rollout: Rollout, viewer: Client
) -> None:
    noted(rollout, message="Of this one.")
    noted(None, message="Of another.")
    html = text_of(viewer, f"{journal.PAGE}activity/")
    assert "Of this one." in html
    assert "Of another." not in html
    assert 'name="plan"' not in html
    assert "No entry matches." in text_of(viewer, f"{journal.PAGE}activity/", actor="nobody")


@pytest.mark.parametrize(
    "query",
    [
        {"phase": "2"},
        {"phase": "2", "plan": journal.PLAN, "environment": "production"},
        {"actor": "ADA"},
        {"event": "pause"},
        {"event": "Pause req"},
        {"text": "100%_\\"},
    ],
)
def test_filters_narrow_the_log(rollout: Rollout, viewer: Client, query: dict[str, str]) -> None:
    noted(rollout, "pause asked for", phase=2, actor="ada", message="wanted: 100%_\\ sure")
    noted(rollout, "phase started", phase=1, actor="grace", message="unwanted")
    noted(None, "started", actor="grace", message="unwanted too")
    text = text_of(viewer, LOG, **query)
    assert "wanted: 100%_\\ sure" in text
    assert "unwanted" not in text


def test_pages_of_the_log_keep_the_filters(rollout: Rollout, viewer: Client) -> None:
    for number in range(60):
        noted(rollout, "step done", actor="ada", message=f"number {number}.")
    first = viewer.get(LOG, {"actor": "ada"})
    after = first.context["entries"].next
    assert f'href="?actor=ada&amp;after={after}"' in first.content.decode()
    second = text_of(viewer, LOG, actor="ada", after=str(after))
    assert "number 9." in second
    assert "number 10." not in second
    assert 'href="?actor=ada"' in second


def test_an_empty_log_and_an_empty_search_say_what_to_do(viewer: Client) -> None:
    assert "No activity yet." in text_of(viewer, LOG)
    assert "No entry matches." in text_of(viewer, LOG, actor="nobody")


def test_the_oldest_come_first_when_they_are_requested(rollout: Rollout, viewer: Client) -> None:
    for number in range(60):
        journal.noted(rollout, message=f"Entry {number:02}.")
    address = "/rollout/log/?order=oldest"
    text = text_of(viewer, address)
    assert text.index("Entry 00.") < text.index("Entry 49.")
    assert "Entry 50." not in text
    assert ">Newest first</a>" in text
    following = text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "Entry 50." in text_of(viewer, f"/rollout/log/{following}")
    assert ">Oldest first</a>" in text_of(viewer, "/rollout/log/")


def test_an_entry_has_a_page_of_its_own_with_its_data(rollout: Rollout, viewer: Client) -> None:
    entry = noted(rollout, "phase started", phase=2, message="<i>On</i>", data={"rows": 7})
    for address in (f"{journal.PAGE}activity/", LOG):
        assert f'href="{address}{entry.pk}/"' in text_of(viewer, address)
        text = text_of(viewer, f"{address}{entry.pk}/")
        assert "&lt;i&gt;On&lt;/i&gt;" in text
        assert "&quot;rows&quot;: 7" in text
        assert "Matches the content" in text
        assert f'href="{address}?show=all&amp;after={entry.pk + 1}"' in text


def test_the_page_of_an_entry_that_was_changed_says_so(rollout: Rollout, viewer: Client) -> None:
    entry = noted(rollout)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE rollout_logentry DISABLE TRIGGER USER")
        cursor.execute("UPDATE rollout_logentry SET actor = 'eve' WHERE id = %s", [entry.pk])
    assert "Content was changed" in text_of(viewer, f"{LOG}{entry.pk}/")


def test_an_entry_of_another_rollout_is_on_no_page_of_this_one(
    rollout: Rollout, viewer: Client
) -> None:
    other = noted(Rollout.objects.create(plan=rollout.plan, environment="qa"))
    assert viewer.get(f"{journal.PAGE}activity/{other.pk}/").status_code == 404
    assert viewer.get(f"{LOG}{other.pk}/").status_code == 200


def run_of_steps(rollout: Rollout, steps: int = 3) -> PhaseRun:
    """A finished run of phase 2, with the entries that it leaves."""
    run = journal.ran(rollout, 2)
    of_run = {"phase": 2, "data": {"run": run.pk}}
    noted(rollout, "phase started", message="It began.", actor="ada", **of_run)
    for number in range(steps):
        noted(rollout, "step done", message=f"Step {number}.", source="worker", **of_run)
    noted(rollout, "phase done", message="It ended.", source="worker", **of_run)
    return run


def lines_in(browser: Client, address: str = LOG, **query: str) -> list[str]:
    """The messages of the lines; of a run its title."""
    lines = browser.get(address, query).context["lines"]
    return [line.title if line.run else line.entry.message for line in lines]


def test_a_run_is_one_line_with_its_outcome_and_its_entries(
    rollout: Rollout, viewer: Client
) -> None:
    run_of_steps(rollout)
    noted(rollout, "approved", message="Approved.")
    assert lines_in(viewer) == ["Approved.", "Phase 2 · Backfill"]
    text = text_of(viewer, LOG)
    assert "4 entries</summary>" in text
    assert text.index("Step 0.") < text.index("Step 2.") < text.index("It ended.")
    everything = ["Approved.", "It ended.", "Step 2.", "Step 1.", "Step 0.", "It began."]
    assert lines_in(viewer, show="all") == everything
    # Who looks for an entry finds it by itself.
    assert lines_in(viewer, text="Step 1") == ["Step 1."]


def test_a_run_with_many_entries_shows_the_first_and_leads_to_the_rest(
    rollout: Rollout, viewer: Client
) -> None:
    run_of_steps(rollout, steps=MAX_OF_RUN + 5)
    first = LogEntry.objects.earliest("pk")
    text = text_of(viewer, LOG)
    assert f"First {MAX_OF_RUN} entries</summary>" in text
    assert f"Step {MAX_OF_RUN}." not in text
    beyond = text_of(viewer, LOG, show="all", after=str(first.pk), order="oldest")
    assert f"Step {MAX_OF_RUN}." in beyond


def test_entries_of_rehearsals_are_shown_on_demand(rollout: Rollout, viewer: Client) -> None:
    rehearsal = journal.rehearsed(journal.taken(rollout))
    noted(rehearsal.sandbox, message="In the rehearsal.")
    noted(rollout, message="In production.")
    assert "In the rehearsal." not in lines_in(viewer)
    assert "In production." in lines_in(viewer)
    assert "In the rehearsal." in lines_in(viewer, show="all")
    inside = rehearsal.sandbox.environment
    assert lines_in(viewer, plan=journal.PLAN, environment=inside) == ["In the rehearsal."]


def test_a_range_has_the_runs_under_way_in_it_and_no_earlier_entry(
    rollout: Rollout, viewer: Client
) -> None:
    now = timezone.now()

    def at(ago: timedelta, message: str, event: str = "approved", **fields: object) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(timezone, "now", lambda: now - ago)
            noted(rollout, event, message=message, **fields)

    run = journal.ran(rollout, 2)
    PhaseRun.objects.update(created_at=now - timedelta(hours=3))
    day, hours, minutes = timedelta(days=1), timedelta(hours=3), timedelta(minutes=5)
    at(day, "Yesterday.")
    at(hours, "It began.", "phase started", data={"run": run.pk})
    at(minutes, "It ended.", "phase done", data={"run": run.pk})
    at(minutes, "Just now.")
    everything = ["Just now.", "Phase 2 · Backfill", "Yesterday."]
    assert lines_in(viewer) == everything
    assert lines_in(viewer, within="hour") == everything[:2]
    assert lines_in(viewer, since=f"{now - hours - minutes:%Y-%m-%dT%H:%M}") == everything[:2]
    assert lines_in(viewer, until=f"{now - hours - minutes:%Y-%m-%dT%H:%M}") == everything[2:]
    PhaseRun.objects.update(finished_at=now - 2 * timedelta(hours=1))
    assert lines_in(viewer, within="hour") == everything[:1]
    assert "Enter a valid date/time." in text_of(viewer, LOG, since="yesterday")


def sent(browser: Client, address: str, **query: str) -> str:
    response = browser.get(address, query)
    assert response.streaming
    assert response["Content-Disposition"].startswith("attachment")
    return b"".join(getattr(response, "streaming_content")).decode()  # noqa: B009


def test_the_filtered_log_is_exported_with_what_its_hashes_cover(
    rollout: Rollout, viewer: Client
) -> None:
    run_of_steps(rollout)
    noted(None, message="Of no rollout.")
    lines = [json.loads(line) for line in sent(viewer, f"{LOG}export.jsonl").splitlines()]
    assert [line["id"] for line in lines] == [e.pk for e in LogEntry.objects.order_by("pk")]
    for before, after in pairwise(lines):
        assert after["previous_hash"] == before["hash"]
    entry = LogEntry(**lines[1])
    entry.at = datetime.fromisoformat(lines[1]["at"])
    assert activity_log.digest(entry) == lines[1]["hash"]
    of_rollout = sent(viewer, f"{journal.PAGE}activity/export.jsonl", event="step done")
    assert [json.loads(line)["message"] for line in of_rollout.splitlines()] == [
        f"Step {number}." for number in range(3)
    ]


def test_no_cell_of_an_export_is_a_formula(rollout: Rollout, viewer: Client) -> None:
    noted(rollout, message="=HYPERLINK(1)", actor="+eve", data={"rows": 7})
    (row,) = csv.DictReader(StringIO(sent(viewer, f"{LOG}export.csv")))
    assert (row["message"], row["actor"]) == ("'=HYPERLINK(1)", "'+eve")
    assert json.loads(row["data"]) == {"rows": 7}


def test_an_export_has_no_entry_of_an_environment_that_is_not_seen(
    rollout: Rollout, settings: LazySettings
) -> None:
    named = {"production": "default", "staging": "default"}
    settings.ROLLOUT = {**settings.ROLLOUT, "ENVIRONMENTS": named}
    noted(rollout, message="In production.")
    noted(Rollout.objects.create(plan=rollout.plan, environment="staging"), message="In staging.")
    exported = sent(journal.browser_of("viewer:staging"), f"{LOG}export.jsonl")
    assert "In staging." in exported
    assert "In production." not in exported


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({}, "Not verified yet"),
        (
            {"begun_at": timezone.now(), "entries": 12000},
            "<strong>Verifying</strong>: 12,000 entries so far",
        ),
        (
            {"verified_at": timezone.now(), "verified_entries": 1234},
            "<strong>Log intact</strong>: 1,234 entries",
        ),
        (
            {
                "verified_at": timezone.now(),
                "broken_entry": 1007,
                "reason": "its content was changed",
            },
            "entry 1,007</a></strong>: its content was changed.",
        ),
    ],
)
def test_the_chain_s_verdict_stands_on_the_page(
    rollout: Rollout, viewer: Client, state: dict[str, object], says: str
) -> None:
    if state:
        LogCheck.objects.create(pk=1, **state)
    for address in (LOG, f"{journal.PAGE}activity/"):
        assert says in " ".join(text_of(viewer, address).split())


def test_a_verification_is_requested_by_a_button_and_made_by_the_watchdog(
    rollout: Rollout, viewer: Client, lead: Client
) -> None:
    assert "Verify now" not in text_of(viewer, LOG)
    assert "Verify now" in text_of(lead, LOG)
    response = lead.post(f"{LOG}verify/", {"next": f"{journal.PAGE}activity/"})
    assert response["Location"] == f"{journal.PAGE}activity/"
    assert LogCheck.objects.get().wanted_at is not None
    text = text_of(lead, LOG)
    assert "A new verification was requested" in text
    assert "Verify now" not in text


def test_a_page_of_many_runs_and_entries_sends_as_many_queries_as_one_of_few(
    rollout: Rollout, viewer: Client
) -> None:
    def queries() -> int:
        with counted() as statements:
            text_of(viewer, LOG)
        return len(statements)

    run_of_steps(rollout)
    noted(rollout, "approved", message="Approved.")
    few = queries()
    for _ in range(20):
        run_of_steps(rollout, steps=12)
        noted(rollout, "approved", message="Approved.")
    assert queries() == few
