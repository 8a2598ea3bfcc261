"""The monitoring page: what it says of operations, and what it costs."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from rollout.models import Rollout, RuleState, ShadowTally
from tests.console import journal
from tests.console.journal import PAGE, browser_of, fragment_of, noted, ran, read_out, text_of

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


def test_an_operation_that_was_slow_within_five_minutes_but_not_in_the_last_has_recovered(
    rollout: Rollout,
) -> None:
    ran(rollout, 1)
    rollout.runs.update(created_at=timezone.now() - timedelta(minutes=20))
    for operation in ("search", "create"):
        measured(operation, ago=timedelta(minutes=40), ms=10)
        measured(operation, ago=timedelta(minutes=3), ms=200)
    measured("search", ago=timedelta(seconds=20), ms=10)
    measured("create", ago=timedelta(seconds=20), ms=10, calls=3)
    page = text_of(browser_of("viewer"), ADDRESS)
    for operation, verdict in (("search", "Recovered"), ("create", "Slower")):
        row = page.partition(f'<th scope="row">{operation}</th>')[2].partition("</tr>")[0]
        assert f"</svg>{verdict}</span>" in row, operation


def test_an_operation_is_shown_where_the_plan_is_whose_modes_it_asked_for(
    rollout: Rollout,
) -> None:
    ran(rollout, 1)
    rollout.runs.update(created_at=timezone.now() - timedelta(minutes=20))
    for operation, plan, ms in (
        ("search", rollout.plan, 10),
        ("upload", "", 10),
        ("make-offer", "another", 900),
    ):
        measured(operation, ago=timedelta(minutes=40), ms=ms, plan=plan)
        measured(operation, ago=timedelta(minutes=1), ms=ms, plan=plan)
    page = text_of(browser_of("viewer"), ADDRESS)
    rows = re.findall(r'<th scope="row">([a-z-]+)</th>', page)
    assert {"search", "upload"} <= set(rows)
    assert "make-offer" not in page
    assert "900" not in page.partition('<th scope="row">all</th>')[2].partition("</tr>")[0]


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
        read_out(rollout, ago=timedelta(minutes=minutes), wal=10 - minutes)
    client = browser_of("viewer")
    page = " ".join(text_of(client, ADDRESS).split())
    assert "No errors in this range." in page
    assert "No sessions waiting for locks in this range." in page
    assert "<strong>Errors</strong>" not in page
    assert "At zero: sessions waiting for locks." in page
    measured("search", ago=timedelta(minutes=1), ms=40, errors=5)
    read_out(rollout, ago=timedelta(0), wal=10, lock_waits=2)
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
    # From phase 2 on every page counts open values.
    ran(rollout, 2)
    rollout.runs.update(baseline={})
    before = queries()
    for number in range(50):
        measured(f"operation {number}", ago=timedelta(minutes=number), ms=10)
    ran(rollout, 1, baseline={})
    ran(rollout, 2, baseline={})
    for number in range(20):
        read_out(rollout, ago=timedelta(minutes=number), wal=1000 - number)
        noted(rollout, "paused by rule", data={"rule": "slow"})
        ShadowTally.objects.create(
            rollout=rollout, at=timezone.now(), seconds=10, operation=f"o{number}", compared=1
        )
    assert queries() == before


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
