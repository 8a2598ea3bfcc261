"""The demo's guide: its steps tick by the journal alone, and each has the one next button."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from config.demo_views import what_was_decided
from config.guides import DemoGuide
from config.home import Home
from config.slowness import seconds_left
from rollout.gates import GateStatus
from rollout.gates.registry import Action
from rollout.models import (
    AuditReport,
    BackfillJob,
    PhaseRun,
    Rehearsal,
    Repair,
    RuleState,
    SignOff,
    StepRun,
)
from rollout.queries.status import status_of
from tests.console import journal
from tests.support.demo_sites import become_demo, logged_in

ADDRESSES = [
    *("/demo/review/", "/demo/request-approval/", "/demo/mark/", "/demo/plant/"),
    *("/demo/approve/", "/demo/slow/", "/demo/full-pace/"),
]


@pytest.fixture
def demo_lead(db: None, settings: Any) -> Client:
    become_demo(settings)
    return logged_in("lead")


def guide(browser: Client) -> tuple[int, list[str]]:
    """How many steps are done, and the labels of the buttons of those that are open."""
    page = browser.get(journal.PAGE).content.decode()
    card = page.split('<section class="card guide"')[1].split("</section>")[0]
    labels = re.findall(r'<(?:button|a) class="button[^>]*>([^<]+)</', card.split("<ol>")[1])
    done = re.search(r"(\d+) of 11 done", card)
    assert done
    assert len(re.findall(r'<li class="guide-done"', card)) == int(done[1])
    return int(done[1]), labels


def test_steps_tick_by_the_journal_and_the_next_has_the_button(demo_lead: Client) -> None:
    rollout = journal.the_rollout()
    assert guide(demo_lead) == (0, ["Open the listings", "Start phase 0 now"])
    run = journal.ran(rollout, 0, "running")
    assert guide(demo_lead) == (1, ["Pause", "Watch"])
    run.delete()
    journal.ran(rollout, 0)
    journal.probed(rollout)
    review = ["Map it, confirm the rest", "Review the values"]
    assert guide(demo_lead) == (2, review)
    journal.reviewed(rollout, legacy_column="status")
    assert guide(demo_lead) == (2, review), "Apt is open"
    journal.reviewed(rollout)
    assert guide(demo_lead) == (3, ["Take snapshot and rehearse"]), "mapped by hand"
    snapshot = journal.taken(rollout)
    rehearsal = journal.rehearsed(snapshot, "running")
    assert guide(demo_lead) == (3, ["Watch the rehearsals", "Mark both done"])
    Rehearsal.objects.filter(pk=rehearsal.pk).update(state="passed")
    assert guide(demo_lead) == (4, ["Mark both done"])
    assert demo_lead.post("/demo/mark/").status_code == 302
    assert guide(demo_lead) == (5, ["Start phase 1 now"])
    SignOff.objects.all().delete()
    assert guide(demo_lead) == (4, ["Mark both done"]), "what is taken back is open again"


@pytest.mark.parametrize(("state", "what"), [("pausing", "paused"), ("cancelling", "cancelled")])
def test_a_backfill_that_is_about_to_stop_has_nothing_to_press(
    demo_lead: Client, state: str, what: str
) -> None:
    rollout = journal.the_rollout()
    for number in (0, 1):
        journal.ran(rollout, number)
    journal.reviewed(rollout)
    journal.reviewed(rollout, legacy_column="status")
    pause = {"by": "lead", "rule": "", "at": timezone.now().isoformat(), "message": ""}
    step = journal.reached(journal.ran(rollout, 2, state, pause=pause), "fill", "running")
    journal.job_of(step, rows_per_second=900)
    assert guide(demo_lead)[1] == ["Watch"]
    page = demo_lead.get(journal.PAGE).content.decode()
    assert f"It is being {what}, at the next safe point" in page
    assert "Resume: it loses nothing." not in page


def test_after_the_backfill_it_leads_through_a_mismatch_and_an_approval(demo_lead: Client) -> None:
    rollout = journal.the_rollout()
    for number in range(3):
        journal.ran(rollout, number)
    journal.reviewed(rollout)
    journal.reviewed(rollout, legacy_column="status")
    plant, ask = "Plant 12 rows and audit", "Take snapshot, request approval"
    assert guide(demo_lead) == (5, [plant, ask])
    page = demo_lead.get(journal.PAGE).content.decode()
    assert "5 of 11 done, 2 skipped" in page, "no rehearsal, and two items that nobody marked"
    assert page.count('<li class="guide-skipped"') == 2
    audit = journal.audited(rollout, "running")
    assert guide(demo_lead) == (5, ["Watch the audit", ask])
    AuditReport.objects.filter(pk=audit.pk).update(
        status="mismatched", mismatched=12, finished_at=audit.started_at
    )
    assert guide(demo_lead) == (5, ["Repair them", "Look at them", "Audits"])
    assert (
        "First repair the rows that an audit found" in demo_lead.get(journal.PAGE).content.decode()
    )
    run = journal.ran(rollout, 2, "running", direction="repair")
    Repair.objects.create(run=run, table="properties", selection={}, rows_expected=12)
    assert guide(demo_lead) == (5, ["Watch the audits"]), "a snapshot would be refused"
    PhaseRun.objects.filter(pk=run.pk).update(state="done", finished_at=run.started_at)
    journal.reached(run, "repair")
    journal.audited(rollout)
    assert guide(demo_lead) == (6, [ask])
    journal.signed(rollout, "request", by="lead2")
    assert guide(demo_lead) == (6, ["Approve phases 3 and 4 as lead"])
    assert "One press gives both in this demo" in demo_lead.get(journal.PAGE).content.decode()
    assert "Get phases 3 and 4 approved" in demo_lead.get(journal.PAGE).content.decode()
    journal.signed(rollout, "approval", by="lead", at=audit.started_at)
    page = demo_lead.get(journal.PAGE).content.decode()
    assert "Get phase 3 approved" in page, "not phase 4, which has a request of its own"
    assert "Get phases 3 and 4 approved" not in page
    done, labels = guide(logged_in("lead2"))
    assert (done, len(labels)) == (7, 1)
    assert guide(demo_lead)[0] == 7
    text = demo_lead.get(journal.PAGE).content.decode()
    assert "Another lead, logged in by name, must start the phase" in text


def test_the_guide_ends_when_all_is_rolled_back_and_begins_again_with_the_next_start(
    demo_lead: Client,
) -> None:
    rollout = journal.the_rollout()
    for number in range(5):
        journal.ran(rollout, number)
    journal.reviewed(rollout)
    journal.reviewed(rollout, legacy_column="status")
    assert guide(demo_lead) == (7, ["Roll back all phases…"])
    for number in (4, 3):
        journal.ran(rollout, number, direction="backward")
    assert guide(demo_lead) == (7, ["Roll back all phases…"]), "half of the way back"
    for number in (2, 1):
        journal.ran(rollout, number, direction="backward")
    assert guide(demo_lead) == (7, ["Roll back phase 0…"])
    journal.ran(rollout, 0, direction="backward")
    assert guide(demo_lead) == (8, [])
    journal.ran(rollout, 0)
    journal.rehearsed(journal.taken(rollout))
    assert guide(demo_lead)[0] == 4


def test_the_switch_makes_the_application_slow_for_20_seconds(
    demo_lead: Client, settings: Any, tmp_path: Path
) -> None:
    settings.HOME = Home(tmp_path)
    rollout = journal.the_rollout()
    journal.reviewed(rollout)
    journal.reviewed(rollout, legacy_column="status")
    for number in (0, 1):
        journal.ran(rollout, number)
    run = journal.ran(rollout, 2, "running")
    job = journal.job_of(journal.reached(run, "backfill", "running"), rows_per_second=1112)
    buttons = ["Pause", "Watch", "Make the application slow for 20 s", "Lift the row limit"]
    assert guide(demo_lead)[1][-4:] == buttons

    def page() -> str:
        return demo_lead.get(journal.PAGE).content.decode()

    assert "limits it to 1,112 rows per second" in page()
    answer = demo_lead.post("/demo/slow/", follow=True).content.decode()
    assert re.search(r"was asked to be slow for 20 s at .*\d\d:\d\d:\d\d", answer)
    assert 18 <= seconds_left() <= 20
    assert buttons[2] not in guide(demo_lead)[1]
    assert "The application is slow for another" in page()
    assert "Watch Health: a guardrail throttles the backfill" in page()
    by = {"by": "guardrail", "rule": "slow", "message": "", "at": timezone.now().isoformat()}
    PhaseRun.objects.filter(pk=run.pk).update(state="paused", pause=by)
    assert "Paused by guardrail “slow”. The application is slow for another" in page()
    settings.HOME.slow_until.write_text("0")
    assert seconds_left() == 0
    assert "Paused by guardrail “slow”. Resume: it loses nothing." in page()
    PhaseRun.objects.filter(pk=run.pk).update(state="running", pause=None)
    now = timezone.now()
    state = RuleState.objects.create(
        rollout=rollout, rule="slower", action="throttle", acting=True, since=now, judged_at=now
    )
    assert "until the application has recovered: nothing to do." in page()
    state.delete()
    slow = "throttled to 10% of full speed: The application is slow: p95 is 47 ms."
    StepRun.objects.filter(run=run).update(waiting_for=slow)
    assert "Throttled to 10% of full speed: The application is slow: p95 is 47 ms. It " in page()
    StepRun.objects.filter(run=run).update(waiting_for="")
    assert buttons[3] in guide(demo_lead)[1]
    BackfillJob.objects.filter(pk=job.pk).update(rows_per_second=None)
    assert "limits it to" not in page()
    assert buttons[3] not in guide(demo_lead)[1]


def test_open_values_and_what_runs_hold_a_phase_up_with_their_own_words(
    demo_lead: Client,
) -> None:
    rollout = journal.the_rollout()
    for number in range(3):
        journal.ran(rollout, number)
        status = status_of(rollout)
        phase = status.phases[number + 1]
        message = f"This holds phase {number + 1} up."
        action: Action = "wait" if number < 2 else "review_mapping"
        phase.gates[:] = [GateStatus("some gate", "pending", message, action)]
        status.phases[number + 1] = replace(phase, start_refusal=message, preparation=[])
        step = DemoGuide(status).phase(number + 1, "Why.")
        assert step.button is not None
        assert (step.note, step.waits) == (message, number < 2)
        labels = ("See what it waits for", "Confirm open values")
        assert step.button.label == labels[number == 2]
    approval = list(DemoGuide(status).steps())[8]
    assert approval.button is not None
    assert approval.button.label == "Confirm values, request approval"
    assert approval.why.startswith("Traffic keeps writing new spellings. This confirms them")
    assert not approval.note, "the gate beside the guide has its message"


def test_wrong_rows_come_before_the_values_that_are_open_beside_them(demo_lead: Client) -> None:
    rollout = journal.the_rollout()
    for number in range(3):
        journal.ran(rollout, number)
    earlier = timezone.now() - timedelta(hours=1)
    for column in ("type", "status"):
        journal.reviewed(rollout, legacy_column=column, at=earlier)
    journal.audited(rollout, "mismatched", mismatched=12)

    def approval() -> tuple[str, str]:
        status = status_of(rollout)
        status.phases[3].gates[:] = [
            GateStatus("mapping reviewed", "pending", "3 are open.", "review_mapping"),
            GateStatus("audit clean", "fail", "12 mismatches.", "review_audit"),
        ]
        step = DemoGuide(status).approval()
        assert step.button is not None
        return step.button.label, step.note

    repair = ("Audits", "First repair the rows that an audit found mismatched.")
    assert approval() == repair
    AuditReport.objects.update(categories={"unmapped": 11, "wrong": 1})
    assert approval() == repair
    AuditReport.objects.update(categories={"unmapped": 12})
    assert approval() == ("Confirm open values", "3 are open.")
    assert guide(demo_lead)[1][:2] == ["Confirm open values", "Look at them"]


@pytest.mark.parametrize(
    ("forms", "words"),
    [
        ([], "No value was open."),
        (["flat"], "1 value confirmed."),
        (["flat", "sold", "let"], "3 values confirmed."),
        (["apt"], "“Apt” mapped to Apartment."),
        (
            ["condominium", "apt", "flat"],
            "“Apt” mapped to Apartment, “Condominium” mapped to Condo, 1 other value confirmed.",
        ),
    ],
)
def test_a_review_says_what_it_did_and_no_more(forms: list[str], words: str) -> None:
    assert what_was_decided(forms) == words


def test_the_limit_of_the_backfill_is_lifted(demo_lead: Client) -> None:
    run = journal.ran(journal.the_rollout(), 2, "running")
    job = journal.job_of(journal.reached(run, "backfill", "running"), rows_per_second=9)
    assert demo_lead.post("/demo/full-pace/").status_code == 302
    job.refresh_from_db()
    assert (job.rows_per_second, job.duty_percent, job.target_ms) == (None, 100, 75)


def test_a_viewer_is_told_that_the_next_button_is_anothers(demo_lead: Client) -> None:
    page = logged_in("viewer").get(journal.PAGE).content.decode()
    card = page.split('<section class="card guide"')[1].split("</section>")[0]
    assert "Needs another role than yours" in card
    assert "<form" not in card.split("<ol>")[1]


def test_a_phase_that_stopped_leads_to_its_page(demo_lead: Client) -> None:
    journal.ran(journal.the_rollout(), 0, "failed")
    done, labels = guide(demo_lead)
    assert (done, labels[-1]) == (1, "Open phase 0")


@pytest.mark.parametrize("address", ADDRESSES)
def test_actions_of_the_demo_alone_require_the_role_and_a_post(
    demo_lead: Client, address: str
) -> None:
    assert logged_in("viewer").post(address).status_code == 403
    assert demo_lead.get(address).status_code == 405
    assert logged_in("lead", enforce_csrf_checks=True).post(address).status_code == 403


def test_a_superuser_of_a_site_is_none_of_the_demos_accounts(demo_lead: Client) -> None:
    User.objects.create_superuser("root", password="x")
    assert [logged_in("root").post(address).status_code for address in ADDRESSES] == [403] * 7


def test_the_other_lead_is_one_of_the_two(demo_lead: Client) -> None:
    assert demo_lead.post("/demo/approve/", {"name": "viewer"}).status_code == 404
    assert not SignOff.objects.exists()
    answer = demo_lead.post("/demo/approve/", {"name": "lead2"}, follow=True)
    assert "lead2 approved phase 3 and phase 4." in answer.content.decode()
    approvals = SignOff.objects.order_by("phase").values_list("phase", "actor_name")
    assert list(approvals) == [(3, "lead2"), (4, "lead2")]


def test_no_other_site_has_the_guide_or_its_addresses(db: None) -> None:
    browser = journal.browser_of("lead")
    assert "card guide" not in browser.get(journal.PAGE).content.decode()
    assert {browser.post(address).status_code for address in ADDRESSES} == {404}


@pytest.mark.parametrize("done", [1, 3, 5])
def test_the_guide_costs_few_queries(demo_lead: Client, settings: Any, done: int) -> None:
    """Its facts are those of the gates."""
    rollout = journal.the_rollout()
    for number in range(done):
        journal.ran(rollout, number)
    assert demo_lead.get(journal.PAGE).status_code == 200
    with_guide = journal.queries_of(lambda: demo_lead.get(journal.PAGE))
    settings.ROLLOUT = {**settings.ROLLOUT, "GUIDE": ""}
    assert with_guide - journal.queries_of(lambda: demo_lead.get(journal.PAGE)) <= 2
