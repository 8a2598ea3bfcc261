"""What people do with the console, in Chromium, with a real web server, worker and watchdog."""

import time

import pytest

from rollout import gates, runner
from rollout.models import BackfillJob, LogEntry, PhaseRun, RollbackChain, RuleState, SignOff
from rollout.plan import plans
from rollout.worker.probes import probe_all
from tests.console import journal
from tests.in_browser.visiting import PHONE, Site, Visitor, Walk
from tests.support import rollouts
from tests.support.intervals import QUICK_SITE
from tests.support.processes import wait_until
from tests.support.rollouts import ADA
from tests.support.servers import Database
from tests.support.writers import Writer

pytestmark = pytest.mark.xdist_group("in_browser")
PAGE = journal.PAGE
PAGES = (PAGE, *(f"{PAGE}phases/{number}/" for number in range(5)), f"{PAGE}audits/")


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    return QUICK_SITE


def asks_until(visitor: Visitor, path: str, text: str, *, seconds: float = 60) -> None:
    """Opens a page again and again, as people without scripts do, until it says so."""
    deadline = time.monotonic() + seconds
    visitor.open(path)
    while text not in visitor.text:
        assert time.monotonic() < deadline, visitor.text
        time.sleep(0.2)
        visitor.open(path)


def plant_a_wrong_type() -> None:
    """In one row, behind the triggers' back."""
    rollouts.execute(
        "SET LOCAL session_replication_role = replica; UPDATE properties SET property_type_id = "
        "(SELECT id FROM property_types WHERE id <> p.property_type_id LIMIT 1) FROM properties p "
        "WHERE p.id = properties.id AND p.id = (SELECT min(id::text)::uuid FROM properties)"
    )


def starts(lead: Visitor, phase: int) -> None:
    """By the keyboard alone."""
    # What gates see in the schema is kept for a moment.
    asks_until(lead, f"{PAGE}phases/{phase}/start/", f"Start phase {phase} in production")
    if phase > 2:
        lead.goes_to(lead.page.locator("#typed"))
        lead.page.keyboard.type(journal.PLAN)
    lead.goes_to(lead.page.get_by_role("button", name=f"Start phase {phase} in production"))
    lead.page.keyboard.press("Enter")


def confirms_the_mapping(engineer: Visitor) -> None:
    """From the gate through the values of each lookup, and back."""
    engineer.open(PAGE)
    engineer.press("Review mapping", role="link")
    engineer.page.wait_for_url(f"**{PAGE}mappings/properties/*/?show=open")
    while "show=open" in engineer.page.url:
        with engineer.page.expect_navigation():
            engineer.page.locator("button[value=all]").click()
    assert engineer.page.url.endswith(PAGE)
    assert "Review mapping" not in engineer.text


def approves(lead: Visitor, phase: int) -> None:
    lead.open(PAGE)
    lead.press("Review and approve…", role="link")
    lead.press(f"Approve phase {phase} in production")
    lead.reads(f"Phase {phase} approved.")


def rolls_everything_back(lead: Visitor) -> None:
    def is_back() -> bool:
        return not gates.started_phases(gates.newest_runs(journal.the_rollout()))

    if not is_back():  # A story that runs alone finds nothing to roll back.
        lead.open(f"{PAGE}phases/0/roll-back/")
        lead.page.locator("#typed").fill(journal.PLAN)
        lead.press("Roll back all phases in production")
        wait_until(is_back, seconds=60)


def test_a_page_says_that_no_worker_runs_and_continues_by_itself_when_one_does(
    site: Site, database: Database, request: pytest.FixtureRequest
) -> None:
    rollouts.load_listings(20)
    with site.visitor("lead") as lead:
        lead.open(f"{PAGE}phases/0/start/")
        lead.press("Start phase 0 in production")
        lead.reads("Worker and watchdog are not running")
        request.getfixturevalue("worker")
        lead.reads("Phase complete", seconds=60)
        lead.page.get_by_text("are not running").wait_for(state="detached")
        assert not lead.problems


def test_everything_works_on_a_phone_without_scripts(
    site: Site, database: Database, worker: None
) -> None:
    journal.ready_for_phase_1(journal.the_rollout())
    with site.visitor("lead", scripts=False, size=PHONE) as lead:
        lead.open("/rollout/")
        lead.press(plans.get(journal.PLAN).title, role="link")
        lead.press("Start phase 1…", role="link")
        lead.press("Start phase 1 in production")
        asks_until(lead, f"{PAGE}phases/1/", "Phase complete")
        lead.press("Roll back phase 1…", role="link")
        lead.page.locator("#typed").fill(journal.PLAN)
        lead.press("Roll back phase 1 in production")
        asks_until(lead, f"{PAGE}phases/1/", "Rolled back")
        lead.open(PAGE)
        lead.page.locator("#start-audit").click()
        asks_until(lead, f"{PAGE}audits/", "Inconclusive")
        lead.open("/rollout/log/")
        lead.page.get_by_text("Filters, plan and environment, range of time").click()
        lead.page.get_by_label("Phase").select_option("1")
        lead.page.get_by_role("button", name="Filter").click()
        assert "phase=1" in lead.page.url
        assert "lead" in lead.page.inner_text("main table")
        assert not lead.problems


def test_the_palette_leads_by_the_keyboard_to_a_page(site: Site) -> None:
    with site.visitor("viewer") as viewer:
        viewer.open("/rollout/")
        viewer.page.keyboard.press("Control+k")
        viewer.page.locator("#palette .results a").first.wait_for()
        viewer.page.keyboard.type("schema production")
        viewer.page.locator("#palette .results[data-text='schema production']").wait_for()
        assert viewer.barriers() == []
        viewer.page.keyboard.press("ArrowDown")
        viewer.page.keyboard.press("Enter")
        viewer.page.wait_for_url(f"**{PAGE}schema/")
        assert viewer.problems == []


def test_one_lead_pauses_and_goes_and_another_resumes(
    site: Site, database: Database, worker: None
) -> None:
    with site.visitor("lead") as lead:
        # Those of a story that rolled phase 1 back are outdated.
        probe_all(journal.the_rollout())
        starts(lead, 1)
        lead.reads("Phase complete", seconds=60)
        # Somebody's transaction holds every listing: the backfill waits.
        with rollouts.locked("SELECT id FROM properties FOR UPDATE"):
            starts(lead, 2)
            lead.press("Pause")
            lead.page.get_by_role("heading", name="Paused").wait_for(timeout=60_000)
            assert not lead.problems
    with site.visitor("lead2") as another:
        another.open(PAGE)
        another.press("Resume")
        another.reads("Phase 2 is done.", seconds=60)
        assert not another.problems


def test_an_engineer_finds_what_was_planted_and_repairs_it_in_few_clicks(
    site: Site, database: Database, worker: None
) -> None:
    with site.visitor("engineer") as engineer:
        engineer.open(f"{PAGE}mappings/properties/type/")
        engineer.page.get_by_label("Select ").first.check()
        engineer.press("Confirm")
        engineer.press("Apply changes")
        engineer.reads("Set by engineer")
        plant_a_wrong_type()
        walk = Walk(engineer)
        engineer.open(PAGE)
        walk.press("Start full audit")
        walk.click(engineer.page.get_by_role("link", name="found 1 mismatched row"))
        walk.click(engineer.page.locator("main a[href*='cell=']:visible"))
        engineer.page.locator("#mismatches").wait_for()
        walk.press("Repair all rows…", role="link")
        engineer.reads("1 row will be written")
        walk.press("Repair in production")
        walk.press("Audits", role="link")
        row = engineer.page.locator("[aria-label=Reports] tbody tr").first
        row.get_by_text("Clean").wait_for(timeout=60_000)
        assert walk.clicks <= 8
        assert not engineer.problems


def test_a_lead_goes_from_phase_0_to_4_and_back_under_traffic_in_few_clicks(
    site: Site, database: Database, worker: None
) -> None:
    with site.visitor("lead") as lead, site.visitor("lead2") as other:
        # What the mismatch had a guardrail block.
        for rule in RuleState.objects.filter(action="hold", acting=True):
            runner.release(journal.the_rollout(), rule.rule, actor=ADA)
        rolls_everything_back(lead)
        SignOff.objects.all().delete()
        walk = Walk(lead)
        lead.open(PAGE)
        walk.press("Start phase 0…", role="link")
        for phase in range(5):
            if phase == 1:
                for item in rollouts.items_to_tick():
                    walk.click(lead.page.locator(f"form[action$='/{item}/'] button"))
            if phase == 3:
                with site.visitor("engineer") as engineer:
                    confirms_the_mapping(engineer)
            if phase > 2:
                walk.press(f"Prepare phase {phase}")
                approves(other, phase)
                lead.page.locator("#typed").fill(journal.PLAN, timeout=60_000)
            walk.press(f"Start phase {phase} in production")
            lead.reads("Phase complete", seconds=60)
            if phase < 4:
                walk.press(f"Continue to phase {phase + 1}…", role="link")
        assert walk.clicks <= 14
        back = Walk(lead)
        writer = Writer()
        writer.start()
        back.press("Roll back to phase 0…", role="link")
        lead.page.locator("#typed").fill(journal.PLAN)
        back.press("Roll back to phase 0 in production")
        lead.reads("Rolling back to phase 0: phase")
        is_back = RollbackChain.objects.filter(to_phase=0, state="done").exists
        wait_until(is_back, seconds=120, seen=lambda: lead.text)
        writer.stop()
        assert writer.errors == []
        assert writer.written
        assert back.clicks <= 14
        assert not lead.problems
        assert not other.problems


def test_a_viewer_is_shown_nothing_to_press_and_refused_what_is_sent_by_hand(
    site: Site, database: Database
) -> None:
    runs, entries = PhaseRun.objects.count(), LogEntry.objects.count()
    with site.visitor("viewer") as viewer:
        for page in PAGES:
            viewer.open(page)
            assert viewer.page.locator("main form[method=post]").count() == 0, page
            assert viewer.page.locator("main a.button-primary").count() == 0, page
        token = viewer.page.locator("input[name=csrfmiddlewaretoken]").first.get_attribute("value")
        for path in ("phases/1/start/", "phases/0/roll-back/", "pause/", "retry/", "audits/"):
            answer = viewer.page.request.post(
                f"{site.address}{PAGE}{path}",
                form={"csrfmiddlewaretoken": str(token)},
                headers={"Referer": f"{site.address}{PAGE}"},
            )
            assert answer.status == 403, path
            assert "Requires the" in answer.text()
    assert (PhaseRun.objects.count(), LogEntry.objects.count()) == (runs, entries)


def test_the_checks_notice_barriers_violations_and_failed_requests(
    site: Site, database: Database
) -> None:
    """The instruments of these tests see a barrier, a violation of the policy, a failed request."""
    with site.visitor("viewer") as viewer:
        viewer.open(PAGE)
        viewer.page.evaluate(
            "document.body.insertAdjacentHTML('beforeend',"
            """ '<svg class="plot"></svg><p aria-live="assertive"></p>"""
            """<img src="/nowhere.png"><p style="color: red">x</p>')"""
        )
        wait_until(lambda: viewer.page.evaluate("[...document.images].at(-1).complete"))
        for barrier in ("image-alt", "chart without a table", "live region that interrupts"):
            assert any(line.startswith(barrier) for line in viewer.barriers()), barrier
        assert any("404 of" in line for line in viewer.problems)
        assert any("Content Security Policy" in line for line in viewer.problems)
        assert (
            viewer.page.evaluate(
                "getComputedStyle([...document.querySelectorAll('p')].at(-1)).color"
            )
            != "rgb(255, 0, 0)"
        )


def test_open_focused_and_scrolled_elements_stay_so_while_the_page_updates(
    site: Site, database: Database
) -> None:
    rollout = journal.the_rollout()
    with site.visitor("lead") as lead:
        lead.open(f"{PAGE}phases/2/")
        opened = lead.page.locator("main details:not([open]) > summary").first
        opened.focus()
        lead.page.keyboard.press("Enter")
        lead.page.evaluate("scrollTo(0, 240)")
        journal.ran(rollout, 2, "failed", error="Somebody pulled the plug.")
        lead.ask_again()
        lead.reads("Somebody pulled the plug.")
        assert lead.page.evaluate(
            "[document.activeElement.nodeName, document.activeElement.parentNode.open]"
        ) == ["SUMMARY", True]
        assert lead.page.evaluate("scrollY") == 240
        assert not lead.problems
    PhaseRun.objects.filter(phase=2).delete()


def test_the_rest_of_the_page_follows_a_change(site: Site, database: Database) -> None:
    run = journal.ran(journal.the_rollout(), 2, "queued")

    def changes(visitor: Visitor, state: str, *, seen_by: str) -> None:
        """Neither part would ask by itself for hours; one of them is made to."""
        for part in ("rollout-now", "live"):
            visitor.page.evaluate(f"document.getElementById('{part}').dataset.live = 9999")
        visitor.ask_again()
        # A part that still waits for an answer asks for no other.
        visitor.page.locator(".htmx-request").first.wait_for(state="detached")
        PhaseRun.objects.filter(pk=run.pk).update(state=state)
        visitor.page.evaluate(f"htmx.trigger('#{seen_by}', 'refresh')")

    with site.visitor("lead") as lead:
        lead.open(f"{PAGE}phases/2/")
        lead.page.evaluate(
            "document.getElementById('content').insertAdjacentHTML('afterbegin',"
            """ '<ul class="messages"><li class="notice tone-good">Phase 2 queued.</li></ul>')"""
        )
        changes(lead, "paused", seen_by="live")
        lead.page.locator("#rollout-now").get_by_text("Paused").wait_for()
        lead.page.locator(".messages .past", has_text="Phase 2 queued.").wait_for()
        changes(lead, "failed", seen_by="rollout-now")
        lead.page.get_by_role("heading", name="Failed before step 1").wait_for()
        assert not lead.problems
    run.delete()


# Parts ask when the test has them ask, so that each change is seen by itself.
SHIFTED = """() => {
    window.shifted = 0;
    document.querySelectorAll("[data-live]").forEach(part => { part.dataset.live = 9999; });
    new PerformanceObserver(seen => {
        for (const one of seen.getEntries()) shifted += one.value;
    }).observe({type: "layout-shift"});
}"""
DRAWN = "() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))"


def test_figures_that_change_move_nothing_else_on_the_page(site: Site, database: Database) -> None:
    run = journal.ran(journal.the_rollout(), 2, "running", worker="somewhere")
    job = journal.job_of(journal.reached(run, "backfill", "running"), scanned=0)
    with site.visitor("lead") as lead:
        for path in (PAGE, f"{PAGE}phases/2/", f"/rollout/jobs/{job.pk}/"):
            lead.open(path)
            lead.page.evaluate(SHIFTED)
            for scanned in (1_234, 987_654):
                BackfillJob.objects.filter(pk=job.pk).update(scanned=scanned, updated=scanned)
                with lead.page.expect_response(
                    lambda answer: "hx-request" in answer.request.headers
                ):
                    lead.ask_again()
                lead.page.evaluate(DRAWN)
            assert lead.page.evaluate("shifted") < 0.01, path
        lead.page.evaluate("document.body.insertAdjacentHTML('afterbegin', '<h1>Here I am</h1>')")
        lead.page.evaluate(DRAWN)
        assert lead.page.evaluate("shifted") > 0.01, "what moves is seen"
        assert not lead.problems
    run.delete()
