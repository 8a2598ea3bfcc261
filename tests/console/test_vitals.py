"""The strip of figures at the top of a rollout's page, in each state of what is measured."""

import re
from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from rollout.console.guardrails import rules_of
from rollout.console.vitals import STALE_AFTER, Vital, vitals_of
from rollout.models import DatabaseReading, Rollout
from rollout.queries.status import status_of
from tests.console import journal
from tests.console.journal import PAGE, ran, text_of


def vitals(rollout: Rollout) -> dict[str, Vital]:
    status = status_of(rollout)
    rules = rules_of(rollout, status.evidence.facts.rules)
    return {vital.label: vital for vital in vitals_of(status, rules)}


def measured(minutes: float, *, ms: float, calls: int = 50, **more: Any) -> None:
    at = timezone.now() - timedelta(minutes=minutes)
    journal.measured(at, ms=ms, calls=calls, seconds=5, **more)


def read_out(rollout: Rollout, *, ago: timedelta = timedelta(), **server: float | None) -> None:
    numbers = {"lock_waits": 0, "replicas": 0, "lag": None, **server}
    DatabaseReading.objects.create(
        rollout=rollout, at=timezone.now() - ago, seconds=10, server=numbers
    )


def started_minutes_ago(rollout: Rollout, minutes: int) -> None:
    ran(rollout, 0)
    rollout.runs.update(created_at=timezone.now() - timedelta(minutes=minutes))


def test_figures_that_are_not_measured_say_so_and_what_to_do(
    rollout: Rollout, viewer: Client
) -> None:
    strip = vitals(rollout)
    assert not any(vital.is_known for vital in strip.values())
    assert strip["Application p95"].value == "Not measured"
    assert strip["Lock waits"].detail == "Start the watchdog."
    journal.processes_run()
    lag = vitals(rollout)["Replica lag"]
    assert (lag.value, lag.detail) == ("Pending", "The first reading comes within a minute.")
    text = text_of(viewer, PAGE)
    assert text.count(f'<a href="{PAGE}monitoring/">Add the telemetry middleware.</a>') == 2
    assert "rollout.telemetry.middleware.Telemetry" in text_of(viewer, f"{PAGE}monitoring/")


def test_a_reading_from_before_a_start_is_waited_for_before_it_is_missed(rollout: Rollout) -> None:
    journal.processes_run()
    read_out(rollout, ago=2 * STALE_AFTER)
    run = ran(rollout, 0, "queued")
    waits = vitals(rollout)["Lock waits"]
    assert (waits.value, waits.detail) == ("Pending", "The next reading comes within a minute.")
    rollout.runs.filter(pk=run.pk).update(created_at=timezone.now() - 2 * STALE_AFTER)
    waits = vitals(rollout)["Lock waits"]
    assert waits.detail == "The database gave no reading in the last minute."


def test_the_latency_now_stands_beside_its_baseline_with_a_line_of_the_last_half_hour(
    rollout: Rollout, viewer: Client
) -> None:
    started_minutes_ago(rollout, 25)
    measured(28, ms=10)
    measured(40, ms=10)
    measured(1, ms=11)
    p95 = vitals(rollout)["Application p95"]
    assert p95.is_known
    assert not p95.is_bad
    assert p95.value.endswith(" ms")
    assert p95.detail.startswith("in 5 min; baseline ")
    assert p95.sparkline is not None
    assert p95.sparkline.baseline
    assert f'aria-label="{p95.sparkline.name}"' in text_of(viewer, PAGE)


def test_a_slower_application_and_a_failing_one_are_marked(rollout: Rollout) -> None:
    started_minutes_ago(rollout, 20)
    measured(40, ms=10)
    measured(1, ms=90)
    strip = vitals(rollout)
    assert strip["Application p95"].is_bad
    assert not strip["Errors"].is_bad
    measured(1, ms=10, errors=40)
    errors = vitals(rollout)["Errors"]
    assert errors.is_bad
    assert errors.value == "40.0%"
    assert errors.detail == "of 100 calls in 5 min; baseline 0%"


def evaluated(rollout: Rollout, rule: str, verdicts: str, **fields: Any) -> None:
    """What the watchdog wrote of a guardrail's windows: ``k`` for kept, ``b`` for broken."""
    now = timezone.now()
    words = {"k": "kept", "b": "broken"}
    windows = [{"at": "", "value": 9.0, "calls": 20, "verdict": words[v]} for v in verdicts]
    values = {"verdict": "kept", "windows": windows, "judged_at": now, "since": now, **fields}
    rollout.rules.update_or_create(rule=rule, defaults=values)


def test_the_application_is_judged_by_its_guardrails_while_they_are_evaluated(
    rollout: Rollout, viewer: Client
) -> None:
    journal.processes_run()
    started_minutes_ago(rollout, 25)
    measured(40, ms=10)
    measured(2, ms=400)
    assert vitals(rollout)["Application p95"].is_bad
    evaluated(rollout, "slower", "kkkkk", action="throttle", value=12.0, baseline=10.0)
    p95 = vitals(rollout)["Application p95"]
    assert (p95.value, p95.detail) == ("12 ms", "in 15 s; baseline 10 ms")
    assert not p95.is_bad
    assert "</svg>Healthy</span>" in text_of(viewer, PAGE), "it has recovered two minutes ago"
    broken = {"action": "throttle", "verdict": "broken", "acting": True, "value": 400.0}
    evaluated(rollout, "slower", "bkkkk", **broken, baseline=10.0)
    p95 = vitals(rollout)["Application p95"]
    assert p95.is_bad
    assert p95.detail == "recovering, 4 of 5 windows within its limit; baseline 10 ms"
    evaluated(rollout, "slower", "kbkkb", action="throttle", value=12.0, baseline=10.0, bound=11.0)
    p95 = vitals(rollout)["Application p95"]
    assert p95.detail == "2 of 5 windows above its limit of 11 ms; baseline 10 ms"
    evaluated(rollout, "slower", "bkkkk", **broken, baseline=10.0)
    text = text_of(viewer, PAGE)
    assert 'class="badge tone-warn"><svg' in text.split('id="health"')[1][:120]
    assert re.search(r'<div class="warn">\s*<dt>Application p95', text), "the tone of the badge"
    assert text_of(viewer, PAGE).count("Application p95") == 1, "the guardrail has the alert"
    evaluated(rollout, "slower", "bkkkk", **broken, judged_at=timezone.now() - STALE_AFTER)
    assert vitals(rollout)["Application p95"].detail.startswith("in 5 min; ")


def test_a_failing_application_is_judged_by_the_guardrail_of_errors(rollout: Rollout) -> None:
    started_minutes_ago(rollout, 25)
    measured(1, ms=10, errors=40)
    evaluated(rollout, "errors", "kkkkk", action="pause", value=0.0, baseline=0.01)
    errors = vitals(rollout)["Errors"]
    assert (errors.value, errors.detail, errors.is_bad) == ("0%", "in 15 s; baseline 1.0%", False)


def test_too_few_calls_are_no_figure_and_still_a_line(rollout: Rollout) -> None:
    measured(20, ms=10)
    measured(1, ms=500, calls=3)
    strip = vitals(rollout)
    for label in ("Application p95", "Errors"):
        assert (strip[label].value, strip[label].is_known) == ("Too few calls", False)
        assert strip[label].detail == "3 in 5 min, 20 needed"
    assert strip["Application p95"].sparkline is not None


def test_a_first_run_without_measurements_before_it_has_no_baseline(rollout: Rollout) -> None:
    started_minutes_ago(rollout, 10)
    measured(1, ms=10)
    p95 = vitals(rollout)["Application p95"]
    assert p95.detail == "in 5 min; no baseline yet"
    assert p95.sparkline is not None
    assert p95.sparkline.baseline == ""


def test_an_environment_that_no_application_uses_has_no_figures_of_one(
    rollout: Rollout, settings: Any
) -> None:
    settings.ROLLOUT = {
        **settings.ROLLOUT,
        "ENVIRONMENTS": {"production": {"DATABASE": "default", "PROTECTED": False}},
    }
    measured(1, ms=10)
    p95 = vitals(rollout)["Application p95"]
    assert (p95.value, p95.detail) == ("No application", "production is not protected.")


def test_lock_waits_and_lag_are_those_of_the_newest_reading(rollout: Rollout) -> None:
    read_out(rollout, ago=timedelta(seconds=20), lock_waits=7)
    read_out(rollout)
    strip = vitals(rollout)
    assert (strip["Lock waits"].value, strip["Lock waits"].detail) == ("0", "sessions waiting")
    assert strip["Replica lag"].detail == "no replica connected"
    assert not any(strip[label].is_bad for label in ("Lock waits", "Replica lag"))
    read_out(rollout, lock_waits=1, replicas=2, lag=12.5)
    strip = vitals(rollout)
    assert (strip["Lock waits"].value, strip["Lock waits"].is_bad) == ("1", True)
    assert (strip["Replica lag"].value, strip["Replica lag"].is_bad) == ("12 s", True)
    assert strip["Replica lag"].detail == "at most, of 2 replicas"
    read_out(rollout, replicas=1)
    assert vitals(rollout)["Replica lag"].detail == "reported by 1 replica"


def test_an_old_reading_is_no_figure(rollout: Rollout) -> None:
    read_out(rollout, ago=STALE_AFTER + timedelta(seconds=5), lock_waits=3)
    assert not vitals(rollout)["Lock waits"].is_known
    for phase in range(5):
        ran(rollout, phase)
    assert vitals(rollout)["Lock waits"].detail == "Reading ended with the last phase."


def test_the_strip_asks_as_often_whatever_was_measured(rollout: Rollout) -> None:
    started_minutes_ago(rollout, 20)
    measured(1, ms=10)
    read_out(rollout)

    def queries() -> int:
        status = status_of(rollout)
        return journal.queries_of(lambda: vitals_of(status, []))

    before = queries()
    for number in range(30):
        measured(number, ms=10, operation=f"operation {number}")
        read_out(rollout, ago=timedelta(seconds=number))
    assert queries() <= before
