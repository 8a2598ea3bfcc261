import re
from dataclasses import replace
from datetime import timedelta

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone

from rollout.console.http.fragments import FAST
from rollout.gates import GateStatus
from rollout.models import Rollout
from rollout.plan import plans
from rollout.queries.status import status_of
from tests.console import journal
from tests.console.journal import PAGE, fragment_of, ran, reached, text_of


def test_a_fresh_rollout_may_start_its_first_phase(rollout: Rollout, lead: Client) -> None:
    text = text_of(lead, PAGE)
    assert "Ready to start" in text
    assert f'href="{PAGE}phases/0/start/"' in text
    assert "No activity yet." in text
    assert "No audits yet. An audit compares" in text


def test_the_gates_say_why_the_next_phase_may_not_start(rollout: Rollout, lead: Client) -> None:
    for phase in (0, 1, 2):
        ran(rollout, phase)
    text = text_of(lead, PAGE)
    assert "Blocked" in text
    assert "No full audit yet. Start one." in text
    assert 'id="start"' not in text
    assert 'id="verb-audit"' in text


def test_a_running_phase_is_shown_with_its_step(rollout: Rollout, viewer: Client) -> None:
    for phase in (0, 1):
        ran(rollout, phase)
    run = ran(rollout, 2, "running")
    reached(run, "map-values")
    reached(run, "dual-write", "running", waiting_for="a lock on properties")
    text = text_of(viewer, PAGE)
    assert "Step 2 of 11: Install dual-write triggers" in text
    assert "Waiting for a lock on properties." in text


def test_a_failed_phase_says_what_to_do_next(rollout: Rollout, lead: Client) -> None:
    run = ran(rollout, 0, "failed", error="<b>boom</b>", advice="Put it right, then retry.")
    reached(run, "compare-schema", "failed", error="<b>boom</b>")
    text = text_of(lead, PAGE)
    assert "Failed in step 1 of 5: Compare the live schema with the plan" in text
    assert "&lt;b&gt;boom&lt;/b&gt;" in text
    assert "<b>boom" not in text
    assert "Put it right, then retry." in text
    assert 'id="verb-retry"' in text
    assert "View mismatched rows" not in text
    report = journal.audited(rollout, "mismatched", run=run, rows=9, mismatched=1)
    text = text_of(lead, PAGE)
    assert f'<a class="button" href="/rollout/audits/{report.pk}/">View mismatched rows</a>' in text
    assert f"Audit {report.pk} found 1 mismatched row." in text
    assert 'id="roll-back"' in text


def test_the_way_back_and_how_long_it_takes_stand_on_the_page_whatever_comes_next(
    rollout: Rollout, lead: Client, viewer: Client
) -> None:
    assert 'id="roll-back"' not in text_of(lead, PAGE), "nothing has begun"
    for phase in range(4):
        ran(rollout, phase)
        text = text_of(lead, PAGE)
        assert f'id="roll-back" href="{PAGE}phases/{phase}/roll-back/"' in text
        unknown = f"Rollback of phase {phase} not rehearsed yet: <a"
        assert (unknown in text) == bool(phase), "phase 0 has nothing to undo"
    rehearsal = journal.rehearsed(journal.taken(rollout), first_phase=1)
    ran(rehearsal.sandbox, 2, direction="backward")
    ran(rehearsal.sandbox, 3, direction="backward")
    text = text_of(lead, PAGE)
    assert "Rolling back phase 3: 4 s, back to before phase 1: 12 s, in <a" in text
    assert "Rolling back" not in text_of(viewer, PAGE)
    for state in ("failed", "cancelled"):
        ran(rollout, 4, state)
        text = text_of(lead, PAGE)
        assert f'id="roll-back" href="{PAGE}phases/4/roll-back/"' in text
        assert "Rollback of phase 4 not rehearsed yet: <a" in text


@pytest.mark.parametrize("state", ["queued", "running", "pausing", "cancelling"])
def test_a_page_asks_again_while_a_worker_has_something_to_do(
    rollout: Rollout, viewer: Client, state: str
) -> None:
    ran(rollout, 0, state)
    for page in ("/rollout/", PAGE):
        text = text_of(viewer, page)
        assert f'data-live="{FAST}" hx-get="{page}" hx-trigger="refresh"' in text


@pytest.mark.parametrize("state", ["", "paused", "cancelled", "failed", "done"])
def test_a_page_asks_less_often_when_nothing_is_at_work(
    rollout: Rollout, viewer: Client, state: str
) -> None:
    if state:
        ran(rollout, 0, state)
    for page in ("/rollout/", PAGE, f"{PAGE}phases/0/", f"{PAGE}audits/"):
        assert 'data-live="15"' in text_of(viewer, page)
        assert 'data-live="15"' in fragment_of(viewer, page)


def test_the_same_address_serves_the_page_and_its_living_part(
    rollout: Rollout, viewer: Client
) -> None:
    ran(rollout, 0, "running")
    assert "<html" in text_of(viewer, PAGE)
    fragment = fragment_of(viewer, PAGE)
    assert "<html" not in fragment
    assert fragment.lstrip().startswith('<div class="stack" id="live" data-live=')


def test_recent_activity_leaves_single_steps_to_the_log(rollout: Rollout, viewer: Client) -> None:
    journal.noted(rollout, "phase started", message="Started phase 0.")
    for _ in range(9):
        journal.noted(rollout, "step done", message="One of many.")
    text = text_of(viewer, PAGE)
    assert "Started phase 0." in text
    assert "One of many." not in text


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/rollout/no-such/production/", "There is no plan &#x27;no-such&#x27;. Known plans: "),
        (f"/rollout/{journal.PLAN}/moon/", "Unknown environment &#x27;moon&#x27;."),
        (f"{PAGE}phases/5/", "Phase 5 not found. The plan has phases 0 to 4."),
        (f"{PAGE}phases/99999999999999999999/start/", "The plan has phases 0 to 4."),
        ("/rollout/jobs/77777777/", "Backfill job 77777777 not found."),
        ("/rollout/jobs/99999999999999999999/", "Backfill job 99999999999999999999 not found."),
        ("/rollout/audits/77777777/", "Audit 77777777 not found."),
        ("/rollout/a/b/c/d/e/", "No page matches <code>/rollout/a/b/c/d/e/</code>"),
    ],
)
def test_a_missing_page_is_named_in_the_answer(lead: Client, address: str, message: str) -> None:
    response = lead.get(address)
    assert response.status_code == 404
    assert message in response.content.decode()


@pytest.mark.slow
def test_the_number_of_queries_does_not_grow_with_the_journal(
    rollout: Rollout, lead: Client
) -> None:
    def queries(page: str) -> int:
        return journal.queries_of(lambda: text_of(lead, page))

    def a_day() -> None:
        for phase in range(3):
            run = ran(rollout, phase)
            for step in rollout_steps(phase):
                done = reached(run, step)
                journal.job_of(done, finished_at=done.finished_at)
            journal.noted(rollout)
            journal.audited(rollout)

    def rollout_steps(phase: int) -> list[str]:

        return [step.id for step in plans.get(journal.PLAN).phases[phase].steps]

    for _ in range(2):
        a_day()
    pages = ("/rollout/", PAGE, f"{PAGE}phases/2/", f"{PAGE}audits/", "/rollout/log/")
    text_of(lead, PAGE)  # What a process asks once.
    before = {page: queries(page) for page in pages}
    for _ in range(4):
        a_day()
    assert {page: queries(page) for page in pages} == before


def test_a_gate_that_blocks_has_the_button_that_clears_it(
    rollout: Rollout, lead: Client, viewer: Client
) -> None:
    for phase in range(3):
        ran(rollout, phase)
    text = text_of(lead, PAGE)
    blocking = text.split('aria-label="Blocking gates"')[1].split("</ul>")[0]
    for label in ("Take snapshot", "Run smoke tests", "Start full audit", "Request approval"):
        assert blocking.count(f">{label}</button>") == 1
    # An override is never the first thing.
    for ways in blocking.split('<div class="ways">')[1:]:
        assert ways.count("<summary") == ways.count("/override/")
        assert "<button" not in ways.partition("</details>")[2]
    # Each leads back to the page it was pressed on.
    for address in ("snapshots/", "audits/", "phases/3/ask-for-approval/"):
        answer = lead.post(f"{PAGE}{address}", {"next": f"{PAGE}phases/3/start/"})
        assert answer["Location"] == f"{PAGE}phases/3/start/"
    assert 'id="approve"' not in text_of(lead, PAGE), "it is for others"
    assert ">Take snapshot</button>" not in text_of(viewer, PAGE)


def test_a_wait_for_a_person_or_a_clock_is_distinguished_from_a_failure(rollout: Rollout) -> None:
    status = status_of(rollout)
    ready_at = timezone.now() + timedelta(seconds=15)
    soak = GateStatus("soak", "pending", "Soaking.", "wait", ready_at=ready_at, progress=0.25)
    drift = GateStatus("no drift", "fail", "A column is gone.", "check_schema")

    def heading(*gates: GateStatus, refusal: str = "No.") -> str:
        phase = replace(status.phases[0], gates=[*gates], start_refusal=refusal)
        page = {"status": status, "phase": phase}
        return render_to_string("rollout/run/readiness.html", page).strip()

    assert heading(refusal="") == "Ready to start"
    assert heading(soak) == "Waiting for: Soak"
    assert heading(drift) == "Blocked: 1 gate"
    assert heading(soak, drift) == "Blocked: 1 gate, 1 waiting"
    phase = replace(status.phases[0], gates=[soak, drift])
    assert phase.gates_in_the_way == [drift, soak], "what failed comes first"
    listed = render_to_string("rollout/parts/gate_list.html", {"gates": [soak], "label": "Gates"})
    assert "Pending" in listed
    assert '<progress value="0.2500" max="1"' in listed
    assert re.search(r"ready at .*\d\d:\d\d:\d\d", listed)


def test_gates_in_the_way_come_before_those_that_pass(rollout: Rollout, viewer: Client) -> None:
    journal.ready_for_phase_1(rollout)
    journal.ran(rollout, 1)
    journal.ran(rollout, 2)
    text = text_of(viewer, PAGE)
    assert "Blocked: " in text
    assert text.index('aria-label="Blocking gates"') < text.index('aria-label="Passed gates"')
    open_ones = text.split('aria-label="Passed gates"')[1].split("</ul>")[0]
    for badge in ("Failed", "Pending", "Unknown"):
        assert badge not in open_ones
