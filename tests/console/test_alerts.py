"""What the overview says is wrong with a rollout, and what to press."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from rollout.gates.facts import MAX_AUDITS
from rollout.journal import watched_times
from rollout.journal.moments import in_words
from rollout.models import AuditReport, Heartbeat, Rehearsal, Rollout, RuleState, Snapshot
from tests.console import journal
from tests.console.journal import PAGE, acting, ran, reached, text_of


def test_a_worker_that_does_not_run_is_reported(rollout: Rollout, viewer: Client) -> None:
    text = text_of(viewer, PAGE)
    assert "Worker and watchdog are not running" in text
    assert "manage.py qcluster" in text
    journal.processes_run()
    assert "not running" not in text_of(viewer, PAGE)


def test_health_says_what_is_wrong_and_where_to_look(rollout: Rollout, viewer: Client) -> None:
    journal.processes_run()
    healthy = text_of(viewer, PAGE)
    assert "</svg>Healthy</span>" in healthy
    assert "approvals and rejections are with the phase that they hold, not here" in healthy
    report = journal.audited(rollout, "mismatched", mismatched=1_047)
    now = timezone.now()
    RuleState.objects.create(
        rollout=rollout,
        rule="slower",
        action="throttle",
        verdict="broken",
        acting=True,
        since=now,
        judged_at=now,
    )
    Heartbeat.objects.all().delete()
    text = text_of(viewer, PAGE)
    assert "Action needed</span>" in text
    assert f'<a href="/rollout/audits/{report.pk}/">Audit {report.pk} found 1,047' in text
    assert "Guardrail “slower” is breached: backfills are throttled." in text
    assert "No worker online." in text
    assert "is running: a possible cause" not in text
    snapshot = journal.taken(rollout)
    rehearsal = journal.rehearsed(snapshot, "running")
    text = text_of(viewer, PAGE)
    assert f"Rehearsal {rehearsal.pk} is running: a possible cause, if on the same server." in text
    Rehearsal.objects.filter(pk=rehearsal.pk).update(state="passed")
    journal.audited(rollout, "clean")
    assert "found 1,047" not in text_of(viewer, PAGE).split('id="modes-heading"')[0]


def test_every_page_takes_an_audit_for_settled_once_people_have_decided_about_its_values(
    rollout: Rollout, engineer: Client
) -> None:
    wrong = {"mismatched": 3, "categories": {"undecided": 3}}
    report = journal.audited(rollout, "mismatched", **wrong)
    decide = "ecide about the values of 3 mismatched rows"
    tab = 'number">3<span class="visually-hidden"> mismatches'
    text = text_of(engineer, PAGE)
    assert tab in text
    assert "Decide…</a>" in text
    for page in ("/rollout/inbox/", "/rollout/"):
        assert decide in text_of(engineer, page)
    journal.reviewed(rollout, changes=[], rows_changed=0)
    text = text_of(engineer, PAGE)
    assert tab not in text
    assert "Decide…</a>" not in text
    since = "found 3 mismatched rows; people have decided about values since.</a>"
    assert f"Audit {report.pk} {since}" in text
    for page in ("/rollout/inbox/", "/rollout/"):
        assert decide not in text_of(engineer, page)
    AuditReport.objects.update(waived=3)
    health = text_of(engineer, PAGE).split('id="health"')[1].split("</section>")[0]
    assert "mismatched row" not in health


def test_wrong_rows_stay_in_sight_behind_however_many_samples(
    rollout: Rollout, engineer: Client
) -> None:
    report = journal.audited(rollout, "mismatched", mismatched=3)
    for _ in range(MAX_AUDITS):
        journal.audited(rollout, mode="sampled")
    assert "Repair 3 mismatched rows" in text_of(engineer, "/rollout/inbox/")
    assert f"Audit {report.pk} found 3 mismatched rows.</a>" in text_of(engineer, PAGE)


def test_a_guardrail_that_heals_itself_needs_nobody(rollout: Rollout, viewer: Client) -> None:
    journal.processes_run()
    windows = [{"at": "", "value": 9.0, "calls": 20, "verdict": "broken"}]
    windows += 4 * [{"at": "", "value": 1.0, "calls": 20, "verdict": "kept"}]
    state = acting(rollout, "slower", "throttle", "broken", windows=3 * windows[:1])
    for verdict, of_windows, sentence in [
        ("broken", 3 * windows[:1], "is breached"),
        ("broken", windows, "is recovering, 4 of 5 windows within its limit"),
        ("broken", windows[::-1], "is worsening, again 1 of 5 windows above its limit"),
        ("inconclusive", [], "has too few calls to be evaluated"),
    ]:
        RuleState.objects.filter(pk=state.pk).update(verdict=verdict, windows=of_windows)
        text = text_of(viewer, PAGE)
        assert f"Guardrail “slower” {sentence}: backfills are throttled." in text
        assert "</svg>Degraded</span>" in text
        assert "No failed phase" not in text
        assert "</svg>Degraded</span>" in text_of(viewer, "/rollout/")


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (
            "throttled to 10% of full speed: The application is slow: p95 is 47 ms over 30 s.",
            "Throttled to 10% of full speed: The application is slow: p95 is 47 ms over 30 s.</a>",
        ),
        ("A slot is losing WAL.", "Paused: A slot is losing WAL.</a>"),
    ],
)
def test_work_that_a_signal_slows_down_is_not_healthy(
    rollout: Rollout, viewer: Client, reason: str, shown: str
) -> None:
    journal.processes_run()
    run = ran(rollout, 2, "running")
    step = reached(run, "backfill", "running")
    assert "</svg>Healthy</span>" in text_of(viewer, PAGE)
    type(step).objects.filter(pk=step.pk).update(waiting_for=reason)
    text = text_of(viewer, PAGE)
    health = text.split('id="health"')[1].split("</section>")[0]
    assert "</svg>Degraded</span>" in health
    assert f'<a href="{PAGE}phases/2/">{shown}' in health
    assert "</svg>Degraded</span>" in text_of(viewer, "/rollout/")
    acting(rollout, "slower", "throttle", "broken")
    health = text_of(viewer, PAGE).split('id="health"')[1].split("</section>")[0]
    assert "Guardrail “slower” is breached" in health
    assert shown not in health, "the guardrail says it"


def test_health_agrees_with_the_vitals_and_the_gates_on_its_page(
    rollout: Rollout, viewer: Client
) -> None:
    journal.processes_run()
    for phase in range(3):
        ran(rollout, phase)
    now = timezone.now()
    rollout.runs.update(created_at=now - timedelta(minutes=25))
    journal.measured(now - timedelta(minutes=30), ms=10, calls=50, seconds=5)
    assert "</svg>Healthy</span>" in text_of(viewer, PAGE)
    journal.measured(now - timedelta(seconds=30), ms=400, calls=50, seconds=5)
    text = text_of(viewer, PAGE).split('id="health"')[1].split("</section>")[0]
    assert re.search(r"Application p95: \d+ ms in 5 min; baseline [\d.]+ ms", text)
    assert "</svg>Degraded</span>" in text
    assert "No failed phase" not in text
    journal.probed(rollout)
    rollout.probes.update(passed=False)
    text = text_of(viewer, PAGE)
    assert f'<a href="{PAGE}phases/3/">Gate “Smoke tests passed” blocks phase 3.</a>' in text
    assert "</svg>Warning</span>" in text
    ran(rollout, 3, "running")
    assert "blocks phase 3." not in text_of(viewer, PAGE), "no phase waits for the gate"


def test_a_pause_by_a_guardrail_is_shown_with_its_next_step(
    rollout: Rollout, viewer: Client
) -> None:
    journal.processes_run()
    run = ran(rollout, 2, "paused")
    state = acting(rollout, "slow", "pause", "broken", run=run)
    there = f'<a href="{PAGE}phases/2/">'
    assert f"{there}Guardrail “slow” is breached: phase 2 is paused.</a>" in text_of(viewer, PAGE)
    for verdict, sentence in {
        "kept": "Guardrail “slow” is OK again: phase 2 is paused. Resume it.",
        "inconclusive": "Guardrail “slow” has too few calls to be evaluated: phase 2 is paused.",
    }.items():
        RuleState.objects.filter(pk=state.pk).update(verdict=verdict)
        text = text_of(viewer, PAGE)
        assert f"{there}{sentence}</a>" in text
        assert "Action needed</span>" in text
        assert "Phase 2 is paused." not in text, "it is told once"


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        ("broken", "is breached: the next phase is blocked."),
        ("kept", "is OK again: the next phase is blocked. Release the hold."),
        ("inconclusive", "has too few calls to be evaluated: the next phase is blocked."),
    ],
)
def test_a_block_by_a_guardrail_is_shown_with_its_next_step(
    rollout: Rollout, viewer: Client, verdict: str, sentence: str
) -> None:
    acting(rollout, "errors-before-a-phase", "hold", verdict)
    assert f"Guardrail “errors-before-a-phase” {sentence}" in text_of(viewer, PAGE)


@pytest.mark.parametrize(
    ("state", "sentence", "badge"),
    [
        ("failed", "Phase 0 failed.", "Action needed"),
        ("cancelled", "Phase 0 was cancelled.", "Warning"),
        ("paused", "Phase 0 is paused.", "Warning"),
    ],
)
def test_a_phase_that_stands_still_is_not_healthy(
    rollout: Rollout, viewer: Client, state: str, sentence: str, badge: str
) -> None:
    journal.processes_run()
    ran(rollout, 0, state)
    text = text_of(viewer, PAGE)
    assert f'<a href="{PAGE}phases/0/">{sentence}</a>' in text
    assert f"{badge}</span>" in text


def test_a_snapshot_that_failed_is_not_healthy_until_a_newer_one_is_good(
    rollout: Rollout, viewer: Client
) -> None:
    journal.processes_run()
    journal.taken(rollout)
    failed = journal.taken(rollout, "failed")
    text = text_of(viewer, PAGE)
    link = f'<a href="/rollout/snapshots/{failed.pk}/">Snapshot {failed.pk}'
    assert f"{link} failed its verification.</a>" in text
    assert "Warning</span>" in text
    journal.taken(rollout)
    assert "</svg>Healthy</span>" in text_of(viewer, PAGE)
    # One that was good and is not any more says that something changed it in the storage.
    Snapshot.objects.filter(pk=failed.pk).update(verified_at=timezone.now())
    assert f"{link} failed its verification.</a>" in text_of(viewer, PAGE)
    Snapshot.objects.exclude(pk=failed.pk).update(state="deleted")
    assert "Action needed</span>" in text_of(viewer, PAGE)


@pytest.mark.parametrize(
    ("jump", "sentence"),
    [
        (timedelta(hours=3), "jumped 3 h ahead, to {}, or no watchdog ran for as long."),
        (timedelta(hours=-3), "jumped 3 h back, to {}."),
    ],
    ids=["ahead", "back"],
)
def test_a_clock_that_jumped_is_reported_for_as_long_as_nothing_is_deleted(
    rollout: Rollout, viewer: Client, jump: timedelta, sentence: str
) -> None:
    journal.processes_run()
    began = timezone.now() - timedelta(days=2)
    watched_times.add(began, seen_from=None)
    assert "</svg>Healthy</span>" in text_of(viewer, PAGE)
    at = began + jump
    watched_times.add(at, seen_from=began, jumped=jump)
    notice = f"database&#x27;s clock {sentence.format(in_words(at))} Nothing is deleted for a day."
    watched_until = at
    for hours in (0, 23, 2):
        until = watched_until + timedelta(hours=hours)
        watched_times.add(until, seen_from=watched_until)
        watched_until = until
        text = text_of(viewer, PAGE)
        is_told = watched_times.unsettled_jump() is not None
        assert is_told == (until - at < watched_times.SETTLES_AFTER)
        assert (notice in text) == is_told
        assert ("Warning</span>" in text) == is_told
        assert ('href="/rollout/log/?event=clock+jumped"' in text) == is_told


def test_health_offers_those_who_may_the_rollback_beside_a_breach(
    rollout: Rollout, viewer: Client, lead: Client
) -> None:
    journal.processes_run()
    for phase in range(3):
        ran(rollout, phase)
    offer = f'If phase 2 is the cause: <a href="{PAGE}phases/2/roll-back/">Roll back phase 2…</a>'
    assert offer not in text_of(lead, PAGE)
    acting(rollout, "slower", "throttle", "broken")
    assert offer not in text_of(lead, PAGE), "a throttle ends by itself"
    rule = acting(rollout, "slow", "pause", "broken")
    assert offer in text_of(lead, PAGE)
    assert offer not in text_of(viewer, PAGE)
    rule.acting, rule.verdict = False, "kept"
    rule.save()
    assert offer not in text_of(lead, PAGE)


def test_mismatched_rows_are_repaired_from_health_and_from_the_gate(
    rollout: Rollout, engineer: Client, viewer: Client
) -> None:
    for phase in (0, 1, 2):
        ran(rollout, phase)
    audit = journal.audited(rollout, "mismatched", mismatched=12)
    repair = f'href="/rollout/audits/{audit.pk}/repair/">Repair…</a>'
    text = text_of(engineer, PAGE)
    assert repair in text
    assert f'href="{audit.get_absolute_url()}">Audit {audit.pk}</a>' in text
    assert f'class="button button-small" href="{PAGE}audits/"' not in text
    acting(rollout, "wrong-values-before-a-phase", "hold", "broken", message="12 rows.")
    health = text_of(engineer, PAGE).partition('id="health"')[2].partition("</section>")[0]
    assert "Guardrail “wrong-values" not in health, "it counts the same rows"
    assert "Roll back phase 2" not in health
    sample = journal.audited(rollout, "mismatched", mode="sampled", mismatched=5)
    text = text_of(engineer, PAGE)
    assert f"Audit {audit.pk} found 12 mismatched rows." in text, "as the tab counts them"
    assert f"Audit {sample.pk} found" not in text
    assert repair in text
    assert repair not in text_of(viewer, PAGE)
    AuditReport.objects.filter(pk=audit.pk).update(waived=12)
    assert repair not in text_of(engineer, PAGE)
