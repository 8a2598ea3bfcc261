"""The monitoring page: what it says of operations, and what it costs."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from rollout.console.database_statistics import MAX_POINTS
from rollout.models import DatabaseSample, LogEntry, Rollout, RuleState, ShadowTally
from tests.console import journal
from tests.console.journal import PAGE, browser_of, fragment_of, noted, ran, text_of

pytestmark = pytest.mark.django_db

ADDRESS = f"{PAGE}monitoring/"


def measured(operation: str, *, ago: timedelta, ms: float, calls: int = 50, **more: Any) -> None:
    at = timezone.now() - ago
    journal.measured(at, ms=ms, calls=calls, operation=operation, seconds=5, **more)


def test_the_page_says_what_to_do_while_nothing_is_measured(rollout: Rollout) -> None:
    assert "rollout.telemetry.operation" in text_of(browser_of("viewer"), ADDRESS)


def test_an_operation_is_compared_with_the_hour_before_the_phase(rollout: Rollout) -> None:
    now = timezone.now()
    ran(rollout, 1, created_at=now - timedelta(minutes=20))
    run = rollout.runs.get()
    type(run).objects.filter(pk=run.pk).update(created_at=now - timedelta(minutes=20))
    measured("search", ago=timedelta(minutes=40), ms=10)
    measured("search", ago=timedelta(minutes=1), ms=80)
    measured("detail", ago=timedelta(minutes=40), ms=10)
    measured("detail", ago=timedelta(minutes=1), ms=10)
    measured("create", ago=timedelta(minutes=40), ms=10)
    measured("create", ago=timedelta(minutes=1), ms=10, errors=25)
    measured("upload", ago=timedelta(minutes=1), ms=10, calls=3)
    page = " ".join(text_of(browser_of("viewer"), ADDRESS).split())
    for operation, verdict in (
        ("search", "Slower"),
        ("detail", "No regression"),
        ("create", "Failing"),
        ("upload", "Too few calls"),
    ):
        row = page.partition(f'<th scope="row">{operation}</th>')[2].partition("</tr>")[0]
        assert verdict in row, operation
    assert "Phase 1" in page


def test_one_operation_and_another_time_can_be_chosen(rollout: Rollout) -> None:
    measured("search", ago=timedelta(hours=3), ms=10)
    client = browser_of("viewer")
    assert "Latency" not in text_of(client, ADDRESS)
    assert "Search trends" in text_of(client, ADDRESS, hours="6", operation="search")
    assert "Latency" not in text_of(client, ADDRESS, hours="6", operation="detail")


def test_the_axis_begins_with_the_rollout_and_lasts_three_minutes_at_least(
    rollout: Rollout,
) -> None:
    client = browser_of("viewer")

    def minutes(**query: str) -> int:
        context = client.get(ADDRESS, query).context
        return int((context["until"] - context["since"]).total_seconds() // 60)

    ran(rollout, 1)
    assert minutes() == pytest.approx(3, abs=1)
    rollout.runs.update(created_at=timezone.now() - timedelta(hours=3))
    assert minutes() == pytest.approx(180, abs=5)
    assert minutes(hours="1") == pytest.approx(60, abs=2)
    assert "Since the rollout started" in text_of(client, ADDRESS)


@pytest.mark.parametrize("hours", ["0", "-1", "x", "99999", "'"])
def test_a_time_that_nobody_offers_is_left_out(rollout: Rollout, hours: str) -> None:
    assert "Monitoring" in text_of(browser_of("viewer"), ADDRESS, hours=hours)


def test_the_name_of_an_operation_is_never_markup(rollout: Rollout) -> None:
    measured("<script>x</script>", ago=timedelta(minutes=1), ms=10)
    assert "<script>x" not in text_of(browser_of("viewer"), ADDRESS, operation="<script>x")


def test_a_chart_says_its_values_and_the_limits_of_guardrails(rollout: Rollout) -> None:
    for minutes in range(1, 9):
        measured("search", ago=timedelta(minutes=minutes), ms=40)
    ran(rollout, 1)
    states = {"slower": ("throttle", 90.0), "slow": ("pause", 9000.0)}
    for rule, (action, bound) in states.items():
        now = timezone.now()
        RuleState.objects.create(
            rollout=rollout, rule=rule, action=action, bound=bound, since=now, judged_at=now
        )
    page = text_of(browser_of("viewer"), ADDRESS)
    assert re.search(r"<title>[0-9:]+ UTC\np50 [0-9.]+ ms\np95 [0-9.]+ ms\np99", page)
    assert re.search(r'aria-label="Latency, ms; p50 \S+ to \S+, latest', page)
    assert re.search(r'class="level-label"[^>]*>slower \(p95\) 90 ms</text>', page)
    assert "Above this scale: slow (p95) 9,000 ms." in page
    assert re.search(r'class="level baseline".*?baseline p95 [0-9.]+ ms', page, re.DOTALL)


def test_a_signal_that_is_always_zero_is_a_sentence_and_no_chart(rollout: Rollout) -> None:
    measured("search", ago=timedelta(minutes=2), ms=40)
    for minutes in (3, 2, 1):
        sampled(rollout, ago=timedelta(minutes=minutes), wal=10 - minutes)
    client = browser_of("viewer")
    page = " ".join(text_of(client, ADDRESS).split())
    assert "No errors in this range." in page
    assert "No sessions waiting for locks in this range." in page
    assert "<strong>Errors</strong>" not in page
    assert "At zero: sessions waiting for locks." in page
    measured("search", ago=timedelta(minutes=1), ms=40, errors=5)
    sampled(rollout, ago=timedelta(0), wal=10, lock_waits=2)
    page = " ".join(text_of(client, ADDRESS).split())
    assert "<strong>Errors</strong>" in page
    assert "in this range." not in page
    assert "At zero" not in page


@pytest.mark.parametrize(
    ("state", "button"), [("running", "Pause"), ("paused", "Resume"), ("done", "")]
)
def test_a_run_at_work_is_paused_and_resumed_beside_the_chart(
    rollout: Rollout, state: str, button: str
) -> None:
    measured("search", ago=timedelta(minutes=1), ms=10)
    ran(rollout, 2, state)
    page = text_of(browser_of("lead"), ADDRESS, hours="1")
    (trends,) = re.findall(r'aria-labelledby="over-time">.*?</header>', page, re.DOTALL)
    assert re.findall(r'id="verb-\w+-beside-chart">(\w+)<', trends) == ([button] if button else [])
    assert ("hours=1" in trends) == bool(button), "the answer leads back to what was looked at"
    assert "-beside-chart" not in text_of(browser_of("viewer"), ADDRESS)


def test_a_fragment_is_the_live_part_alone(rollout: Rollout) -> None:
    measured("search", ago=timedelta(minutes=1), ms=10)
    fragment = fragment_of(browser_of("viewer"), ADDRESS)
    assert "Latency" in fragment
    assert "<html" not in fragment


def test_the_number_of_queries_does_not_grow_with_what_was_measured(rollout: Rollout) -> None:
    client = browser_of("viewer")

    def queries() -> int:
        return journal.queries_of(lambda: text_of(client, ADDRESS))

    measured("search", ago=timedelta(minutes=1), ms=10)
    ran(rollout, 0)
    rollout.runs.update(baseline={})
    before = queries()
    for number in range(50):
        measured(f"operation {number}", ago=timedelta(minutes=number), ms=10)
    ran(rollout, 1, baseline={})
    ran(rollout, 2, baseline={})
    for number in range(20):
        sampled(rollout, ago=timedelta(minutes=number), wal=1000 - number)
        noted(rollout, "paused by rule", data={"rule": "slow"})
        ShadowTally.objects.create(
            rollout=rollout, at=timezone.now(), seconds=10, operation=f"o{number}", compared=1
        )
    assert queries() == before


def sampled(rollout: Rollout, *, ago: timedelta, wal: float, **more: Any) -> None:
    """A sample of the database, in which so many bytes of WAL were written by then."""
    table = {"table_bytes": 2e6, "index_bytes": 1e6, "live": 900, "dead": 100}
    table |= {"inserts": 0, "updates": 40 * wal, "hot_updates": 30 * wal, "deletes": 0}
    server = {"started": 1.0, "reset": None, "wal_bytes": 1e6 * wal, "connections": 12}
    DatabaseSample.objects.create(
        rollout=rollout,
        at=timezone.now() - ago,
        seconds=10,
        server={**server, "max_connections": 100, "lock_waits": 0, **more},
        tables={"properties": table},
        statements=[{"query": "SELECT <b> $1", "calls": 4, "ms": 100.0, "rows": 4}],
    )


def test_the_database_is_shown_now_and_before_the_phase(rollout: Rollout) -> None:
    now = timezone.now()
    ran(rollout, 2, "running")
    rollout.runs.update(created_at=now - timedelta(minutes=20))
    for minutes, wal in ((30, 1), (25, 2), (2, 100), (1, 160), (0, 220)):
        sampled(rollout, ago=timedelta(minutes=minutes, seconds=1), wal=wal)
    page = " ".join(text_of(browser_of("viewer"), ADDRESS).split())
    # 60 MB a minute now, 1 MB in five minutes before.
    assert "1.0 MB/s" in page
    assert "baseline 3.3 kB/s" in page
    assert "12 of 100" in page
    assert "75.0%" in page, "the HOT share"
    assert "10.0%" in page, "the share of dead rows"
    assert "SELECT &lt;b&gt; $1" in page
    assert "25 ms" in page


def test_a_baseline_of_many_samples_is_decoded_in_part(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(rollout, 2, "running")
    sampled(rollout, ago=timedelta(minutes=30), wal=1)
    pattern = DatabaseSample.objects.get()
    at = timezone.now() - timedelta(minutes=31)
    DatabaseSample.objects.bulk_create(
        DatabaseSample(
            rollout=rollout,
            at=at - timedelta(seconds=5 * number),
            seconds=5,
            server=pattern.server,
            tables=pattern.tables,
        )
        for number in range(300)
    )
    rollout.runs.update(created_at=timezone.now() - timedelta(seconds=1))
    sampled(rollout, ago=timedelta(), wal=2)
    decoded: list[Any] = []
    loads = json.loads

    def counting(text: Any, **options: Any) -> Any:
        decoded.append(text)
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", counting)
    assert "baseline" in text_of(browser_of("viewer"), ADDRESS)
    assert 0 < len(decoded) <= 2 * MAX_POINTS


def test_events_of_the_rollout_are_marked_by_kind_on_the_axis_of_the_plots(
    rollout: Rollout,
) -> None:
    measured("search", ago=timedelta(minutes=1), ms=10)
    run = ran(rollout, 2, "running")
    journal.job_of(journal.reached(run, "backfill"))
    noted(rollout, "throttled by rule", data={"rule": "slower"})
    noted(rollout, "paused by rule", data={"rule": "slow"}, actor="rule slow")
    noted(rollout, "resumed", actor="ada")
    page = " ".join(text_of(browser_of("viewer"), ADDRESS).split())
    for lane, mark in (
        ("Phases", "Phase 2"),
        ("Backfills", "Backfill of properties"),
        ("Throttles", "Throttled by guardrail slower"),
        ("Halts", "Paused by a guardrail: rule slow"),
        ("Halts", "Resumed: ada"),
    ):
        (row,) = [part for part in page.split('class="lane-name"') if part.startswith(f">{lane}<")]
        assert mark in row, mark
    assert 'href="#icon-paused"' in page


def test_shadow_reads_are_listed_by_operation_and_a_lead_sets_their_share(rollout: Rollout) -> None:
    ShadowTally.objects.create(
        rollout=rollout,
        at=timezone.now(),
        seconds=10,
        operation="search",
        compared=40,
        same=30,
        mapped=6,
        unfilled=3,
        differed=3,
        failed=1,
        error="<b>timeout</b>",
        old_durations={"-30": 40},
        new_durations={"-23": 40},
    )
    noted(rollout, "shadow read differs", data={"report": 77})
    page = " ".join(text_of(browser_of("viewer"), ADDRESS).split())
    assert "/audits/77/" in page
    assert "6 mapped to another name" in page
    assert "3 not backfilled yet" in page
    assert "&lt;b&gt;timeout" in page
    assert "Set</button>" not in page
    lead = browser_of("lead")
    for percent, status in (("7.5", "7.5 %"), ("101", "0 to 100"), ("", "Enter a percentage")):
        answer = lead.post(f"{PAGE}shadow/", {"percent": percent, "next": ADDRESS}, follow=True)
        assert status in answer.content.decode()
    rollout.refresh_from_db()
    assert rollout.shadow_percent == 7.5
    same = lead.post(f"{PAGE}shadow/", {"percent": "7.50", "next": ADDRESS}, follow=True)
    assert "Shadow read sample rate set to 7.5 %." in same.content.decode()
    for percent in ("1e-321", "0.0009"):
        answer = lead.post(f"{PAGE}shadow/", {"percent": percent, "next": ADDRESS}, follow=True)
        assert "The smallest sample rate is 0.001 %." in answer.content.decode()
    rollout.refresh_from_db()
    assert rollout.shadow_percent == 7.5
    # The share that it had already is no news.
    entry = LogEntry.objects.get(event="shadow share changed")
    assert (entry.actor, entry.data) == ("lead", {"before": 1.0, "after": 7.5})
