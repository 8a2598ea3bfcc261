import re
from dataclasses import replace
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone

from rollout import runner
from rollout.engine.statement_activities import Blocker, Progress, StatementActivity
from rollout.journal.labels import gate_label
from rollout.models import BackfillJob, LogEntry, Rollout, ScheduledStart
from rollout.plan import plans
from rollout.plan.psql_scripts import forward_script
from rollout.queries import status, text_reports
from rollout.queries.status import status_of
from tests.console import journal
from tests.console.journal import PAGE, fragment_of, ran, reached, text_of
from tests.support.rollouts import ADA


def test_the_phase_page_shows_what_each_step_came_to(rollout: Rollout, viewer: Client) -> None:
    run = ran(rollout, 0, "failed", error="Drift.", advice="Put it right.")
    reached(run, "compare-schema", result="2 tables are as the plan expects.")
    reached(run, "probe-search", "failed", error="<script>x</script>")
    reached(run, "probe-create-property", "running", result="Half of it is applied.")
    text = text_of(viewer, f"{PAGE}phases/0/")
    assert "2 tables are as the plan expects." in text
    assert "&lt;script&gt;x&lt;/script&gt;" in text
    assert "<script>x" not in text
    assert "Half of it is applied." not in text, "a step that runs has no result yet"


def test_a_fragment_carries_the_state_of_every_step_and_no_sql(
    rollout: Rollout, viewer: Client
) -> None:
    run = ran(rollout, 1, "running")
    reached(run, "create-types")
    fragment = fragment_of(viewer, f"{PAGE}phases/1/")
    steps = plans.get(journal.PLAN).phases[1].steps
    for step in steps:
        assert f'id="state-of-{step.id}" hx-swap-oob="morph"' in fragment
    assert "CREATE TABLE" not in fragment
    page = text_of(viewer, f"{PAGE}phases/1/")
    assert "hx-swap-oob" not in page
    assert len(re.findall('id="state-of-', page)) == len(steps)


def test_a_page_that_says_queued_shows_no_step_that_a_worker_did_meanwhile(
    rollout: Rollout, viewer: Client
) -> None:
    # As the page read it; the worker was faster than the page.
    run = ran(rollout, 2, "queued")
    reached(run, "map-values", result="Applied.")
    text = text_of(viewer, f"{PAGE}phases/2/")
    assert "Queued: " in text
    assert "Applied." not in text


def test_a_rehearsed_time_stands_in_place_of_the_estimate_wherever_one_is_reported(
    rollout: Rollout, lead: Client
) -> None:
    ran(rollout, 0)
    pages = (PAGE, f"{PAGE}phases/1/", f"{PAGE}phases/1/start/")
    assert "estimated 10 s" in text_of(lead, PAGE)
    assert "Estimated duration, not rehearsed" in text_of(lead, pages[2])
    rehearsal = journal.rehearsed(journal.taken(rollout))
    ran(rollout, 1)
    for page in pages[:2]:
        assert f"4 s in rehearsal {rehearsal.pk})" in text_of(lead, page), page
    assert "Estimated duration, not rehearsed" not in text_of(lead, pages[2])
    assert "Why not as rehearsed" not in text_of(lead, pages[1])
    began = timezone.now() - timedelta(seconds=30)
    rollout.runs.filter(phase=1).update(started_at=began)
    assert "Why not as rehearsed" in text_of(lead, pages[1])
    for page in pages[:2]:
        text = text_of(lead, page)
        assert text.count("no row limit, duty cycle or guardrail") == 1, "no time without a word"
    run = ran(rollout, 1, "running", direction="backward")
    assert re.search(
        rf"4(\.\d)? s <span class=.muted.>\(4 s in rehearsal {rehearsal.pk}\)", text_of(lead, PAGE)
    )
    journal.job_of(reached(run, "create-types", "running"), rows_per_second=9)
    for page in pages[:2]:
        limited = f"(4 s in rehearsal {rehearsal.pk} without the row limit)"
        assert limited in text_of(lead, page), page
    runner.set_pace(
        BackfillJob.objects.get(),
        target_ms=75,
        duty_percent=100,
        rows_per_second=None,
        workers=1,
        commit_limit_ms=None,
        actor=ADA,
    )
    for page in pages[:2]:
        assert limited in text_of(lead, page), f"a part of its time had the limit: {page}"
    rollout.runs.first().delete()  # type: ignore[union-attr]
    # Whose time it is that stands after the buttons.
    assert "Rolling back phase 1: 4 s in <a" in text_of(lead, pages[1])


def test_the_card_of_a_phase_that_is_done_keeps_that_its_rehearsal_had_no_row_limit(
    rollout: Rollout, viewer: Client
) -> None:
    rehearsal = journal.rehearsed(journal.taken(rollout))
    ran(rehearsal.sandbox, 2)
    for phase in (0, 1):
        ran(rollout, phase)
    run = ran(rollout, 2)
    job = journal.ended_job(reached(run, "backfill"))
    page = f"{PAGE}phases/2/"
    assert f"in rehearsal {rehearsal.pk})" in text_of(viewer, page)
    BackfillJob.objects.filter(pk=job.pk).update(rows_per_second=1112)
    for address in (PAGE, page):
        text = text_of(viewer, address)
        assert f"in rehearsal {rehearsal.pk} without the row limit)" in text, address


def test_a_phase_without_gates_names_those_of_the_next(rollout: Rollout, lead: Client) -> None:
    for page in (PAGE, f"{PAGE}phases/0/", f"{PAGE}phases/0/start/"):
        ahead = text_of(lead, page).split("No gates before phase 0. Phase 1 has ")[1]
        assert gate_label("checklist complete") in ahead.split("</p>")[0], page
    ran(rollout, 0)
    # As many as the page of its start has.
    assert f" of {ahead.split(':')[0]} gates passed" in text_of(lead, f"{PAGE}phases/1/start/")
    assert "No gates" not in text_of(lead, PAGE)


def test_a_rolled_back_phase_shows_its_steps_as_undone(rollout: Rollout, viewer: Client) -> None:
    journal.ready_for_phase_1(rollout)
    ran(rollout, 1)
    run = ran(rollout, 1, direction="backward")
    journal.probed(rollout)
    reached(run, "create-types")
    text = text_of(viewer, f"{PAGE}phases/1/")
    assert "Rolled back by grace, " in text
    assert "Ready to start again" in text
    assert "A lead starts it." in text
    assert "A lead starts it." not in text_of(journal.browser_of("lead"), f"{PAGE}phases/1/")


def test_the_progress_of_a_backfill_is_shown_beside_its_step(
    rollout: Rollout, viewer: Client
) -> None:
    step = reached(ran(rollout, 2, "running"), "backfill", "running")
    job = journal.job_of(step)
    text = text_of(viewer, f"{PAGE}phases/2/")
    assert '<progress value="' in text
    assert f'href="/rollout/jobs/{job.pk}/"' in text


def test_starting_asks_first_and_shows_what_will_run(rollout: Rollout, lead: Client) -> None:
    journal.ready_for_phase_1(rollout)
    text = text_of(lead, f"{PAGE}phases/1/start/")
    assert "Ready to start" in text
    assert "ADD COLUMN IF NOT EXISTS &quot;currency&quot;" in text
    assert "Start phase 1 in production" in text
    # The preflight tells the locks, once it has come.
    assert f'hx-get="{PAGE}phases/1/preflight/"' in text
    assert ">Locks</h2>" not in text
    assert rollout.runs.count() == 1


@pytest.mark.parametrize(
    ("phase", "level", "levels"),
    [
        (1, "", set()),
        (3, "restrictive", {"restrictive"}),
        (4, "destructive", {"restrictive", "destructive"}),
    ],
)
def test_a_loss_of_data_looks_otherwise_than_a_refusal(
    rollout: Rollout, lead: Client, phase: int, level: str, levels: set[str]
) -> None:
    for earlier in range(phase):
        ran(rollout, earlier)
    journal.signed(rollout, by="ada", phase=phase)
    plan = plans.get(rollout.plan)
    steps = [step.level for step in plan.phases[phase].steps if step.level]
    assert set(steps) == levels
    assert (plan.is_destructive(phase), plan.is_guarded(phase)) == (
        level == "destructive",
        level != "",
    )
    start, page = (text_of(lead, f"{PAGE}phases/{phase}/{to}") for to in ("start/", ""))
    for severity in ("destructive", "restrictive"):
        # Once for the phase, once for each of its steps.
        badges = steps.count(severity) + (severity == level)
        assert page.count(f"</svg>{severity.capitalize()}</span>") == badges
        assert start.count(f"</svg>{severity.capitalize()}</span>") == badges
    assert ('name="typed"' in start) == bool(level)
    assert ("This phase is destructive. Type" in start) == (level == "destructive")
    assert ("This phase is restrictive. Type" in start) == (level == "restrictive")
    assert ("Every value is archived first." in start) == (level == "destructive")
    activity = text_reports.as_text(status_of(rollout))
    (line,) = (line for line in activity.splitlines() if line.startswith(f"  {phase} "))
    assert line.endswith(f"pending, {level}" if level else "pending")
    assert forward_script(plan, phase).count("-- This step is ") == len(steps)


def test_a_scheduled_start_says_that_data_goes(rollout: Rollout, lead: Client) -> None:
    ScheduledStart.objects.create(
        rollout=rollout,
        phase=4,
        at=timezone.now() + timedelta(days=1),
        zone="UTC",
        actor_name="grace",
    )
    notice = text_of(lead, PAGE).split('class="notice"')[1].split("</div>")[0]
    assert "Destructive</span> Scheduled by grace." in notice


def test_after_a_phase_the_first_button_leads_to_the_next(
    rollout: Rollout, lead: Client, viewer: Client
) -> None:
    def buttons(phase: int, browser: Client = lead) -> list[tuple[str, str, str]]:
        card = text_of(browser, f"{PAGE}phases/{phase}/").split('<section class="card run"')[1]
        actions = card.split('<div class="actions">')[1].split("</section>")[0]
        return re.findall(r'<a class="([^"]+)" id="([^"]+)" href="([^"]+)"', actions)

    ran(rollout, 0)
    back = ("button", "roll-back", f"{PAGE}phases/0/roll-back/")
    # What keeps phase 1 from starting, and the buttons for that, are on the page of its start.
    forward = ("button button-primary", "continue", f"{PAGE}phases/1/start/")
    assert buttons(0)[:2] == [forward, back]
    assert "Mark done" in text_of(lead, forward[2])
    assert buttons(0, viewer) == []
    journal.signed(rollout, "override", phase=1, subject="checklist complete")
    assert buttons(0)[0] == forward
    assert "Mark done" not in text_of(lead, forward[2])
    for phase in range(1, 5):
        ran(rollout, phase)
    assert buttons(3) == []
    assert [name for _, name, _ in buttons(4)] == ["continue", "roll-back", "roll-back-to"]
    assert "View cleanup" in text_of(lead, f"{PAGE}phases/4/")
    # Rolled back, the phase before is the next one on the way back.
    ran(rollout, 4, direction="backward")
    assert ("button", "roll-back", f"{PAGE}phases/3/roll-back/") in buttons(4)


def test_the_page_of_a_start_that_waits_asks_again_until_the_phase_can_start(
    rollout: Rollout, lead: Client
) -> None:
    ran(rollout, 0)
    page = f"{PAGE}phases/1/start/"
    (asked,) = re.findall(r'id="start-verdict" data-live="5" hx-get="([^"]+)"', text_of(lead, page))
    address = unescape(asked)
    waiting = lead.get(address, headers=journal.HTMX)
    assert "Mark done" in waiting.content.decode()
    assert "HX-Refresh" not in waiting
    # The same as the page has: nothing that the view of the part alone does not know.
    steps = r'<dt>Steps</dt><dd class="number">(\d+)</dd>'
    assert (
        re.findall(steps, waiting.content.decode())
        == re.findall(steps, text_of(lead, page))
        == ["8"]
    )
    journal.signed(rollout, "override", phase=1, subject="checklist complete")
    # The whole page is requested: its form, the name to type and the approvals have changed.
    assert lead.get(address, headers=journal.HTMX)["HX-Refresh"] == "true"
    assert "Start phase 1 in production" in text_of(lead, page)
    changed = lead.get(f"{page}?show=gates&seen=another", headers=journal.HTMX)
    assert changed["HX-Refresh"] == "true"


def test_the_form_of_a_start_stands_before_everything_that_is_read_on_demand(
    rollout: Rollout, lead: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "refusal_to_start", lambda *_: "")
    for phase in range(5):
        text = text_of(lead, f"{PAGE}phases/{phase}/start/")
        button = text.index(f"Start phase {phase} in production")
        for later in ('id="preflight"', 'id="later"', 'id="schema-changes"', 'id="runs"'):
            assert button < text.index(later), (phase, later)
        ran(rollout, phase)
        back = text_of(lead, f"{PAGE}phases/{phase}/roll-back/")
        assert back.index("in production</button>") < back.index('id="preflight"'), phase


def test_a_press_starts_the_phase_once(rollout: Rollout, lead: Client) -> None:
    response = lead.post(f"{PAGE}phases/0/start/", journal.read(0), follow=True)
    assert response.redirect_chain == [(f"{PAGE}phases/0/", 302)]
    text = response.content.decode()
    assert "Phase 0 queued." in text
    again = lead.post(f"{PAGE}phases/0/start/", journal.read(0), follow=True).content.decode()
    assert "lead&#x27;s phase 0 is queued." in again
    assert "tone-bad" in again
    assert rollout.runs.count() == 1
    assert LogEntry.objects.filter(event="phase started", actor="lead", source="web").count() == 1


@pytest.mark.parametrize("unread", [{}, {"seen": ""}])
def test_a_press_without_the_digest_of_what_was_read_starts_and_schedules_nothing(
    rollout: Rollout, lead: Client, unread: dict[str, str]
) -> None:
    form = {"at": f"{timezone.now() + timedelta(days=2):%Y-%m-%dT%H:%M}", **unread}
    for verb in ("start", "schedule"):
        text = lead.post(f"{PAGE}phases/0/{verb}/", form, follow=True).content.decode()
        assert "The page is older than this version of the console." in text
        assert f"Review phase 0 again before you {verb} it." in text
    assert not rollout.runs.exists()
    assert not ScheduledStart.objects.exists()


def test_the_reason_that_a_phase_waits_is_one_after_a_rollback_too(
    rollout: Rollout, viewer: Client
) -> None:
    for direction, phases in (("forward", range(5)), ("backward", range(4, -1, -1))):
        for phase in phases:
            journal.ran(rollout, phase, direction=direction)
    text = text_of(viewer, f"{PAGE}phases/4/")
    assert "Waiting for phase 0" in text
    assert "Phases 0 to 3 must run first." in text
    journal.ran(rollout, 0)
    assert "Waiting for phase 1" in text_of(viewer, f"{PAGE}phases/2/")
    assert "Phase 1 must run first." in text_of(viewer, f"{PAGE}phases/2/")


def test_a_done_phase_is_not_waited_for_and_what_was_not_rehearsed_is_not_in_the_total(
    rollout: Rollout, lead: Client
) -> None:
    for phase in (0, 1, 2):
        journal.ran(rollout, phase)
    journal.rehearsed(journal.taken(rollout))
    assert '<h2 id="verdict">Phase complete</h2>' in text_of(lead, f"{PAGE}phases/1/start/")
    text = text_of(lead, f"{PAGE}phases/1/roll-back/")
    # As exact as the rehearsal's own page.
    assert "50,012 rows, without phase 2." in text


def test_a_phase_out_of_order_is_refused_with_the_reason(rollout: Rollout, lead: Client) -> None:
    assert "Waiting for phase 0" in text_of(lead, f"{PAGE}phases/3/start/")
    text = lead.post(f"{PAGE}phases/3/start/", follow=True).content.decode()
    assert "Phases 0 to 2 must run first." in text
    assert not rollout.runs.exists()


@pytest.mark.parametrize(
    ("state", "buttons"),
    [
        ("queued", {"pause", "cancel"}),
        ("running", {"pause", "cancel"}),
        ("pausing", {"cancel"}),
        ("paused", {"resume", "cancel"}),
        ("cancelling", set()),
        ("cancelled", {"retry"}),
        ("failed", {"retry"}),
        ("done", set()),
    ],
)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_each_state_offers_what_can_be_done_in_it(
    rollout: Rollout, lead: Client, state: str, direction: str, buttons: set[str]
) -> None:
    ran(rollout, 0, state, direction=direction)
    text = text_of(lead, f"{PAGE}phases/0/")
    verbs = ("pause", "resume", "cancel", "retry")
    assert {verb for verb in verbs if f'id="verb-{verb}"' in text} == buttons


def test_a_long_statement_shows_how_far_it_is_and_whose_transactions_it_waits_for(
    rollout: Rollout, viewer: Client
) -> None:
    old = Blocker(
        pid=77,
        began_at="2026-01-01T00:00:00.000000Z",
        transaction_at="2026-01-01T00:00:00.000000Z",
        application="a report",
        user="reporting",
        kind="client backend",
        state="active",
        seconds=125,
        query="SELECT <b>everything</b>",
    )
    activity = StatementActivity(
        session=1,
        statement="CREATE INDEX CONCURRENTLY …",
        began_at="2026-01-01T00:00:00.000+00:00",
        awaits="older transactions",
        blockers=(old,),
        progress=Progress("waiting for old snapshots", 2, 3, "blocking transactions"),
    )
    run = ran(rollout, 3, "running")
    reached(run, "index-type", "running", activity=activity.as_data())
    text = text_of(viewer, f"{PAGE}phases/3/")
    assert "Waiting for old snapshots" in text
    assert "2 of 3 blocking transactions" in text
    assert 'value="2.0000" max="3.0000"' in text
    assert "a report" in text
    assert "2 min 5 s" in text
    assert "SELECT &lt;b&gt;everything&lt;/b&gt;" in text
    assert '<dt>Lock timeout</dt><dd class="number">' not in text
    without = replace(activity, blockers=(), progress=None)
    run.steps.update(activity=without.as_data())
    text = text_of(viewer, f"{PAGE}phases/3/")
    assert "PostgreSQL reports no progress for this statement." in text
