"""Pictures of the main pages for the documents, light and dark: ``make pictures`` takes them."""

import os
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from rollout import runner
from rollout.models import (
    AuditReport,
    BackfillJob,
    PhaseRun,
    Rehearsal,
    RehearsalState,
    Rollout,
    RunState,
    Snapshot,
)
from tests.console import journal
from tests.in_browser.visiting import Site, Visitor
from tests.support import rollouts
from tests.support.processes import manage_process, stopped_after, wait_until
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("in_browser")
PAGE = journal.PAGE
# So many that a backfill at the limit below can be seen at work.
ROWS = 12_000
# Pages have few colours: a palette makes a picture a third of its size, and nobody sees it.
COLOURS = 96


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """A backfill that can be seen at work, and an application that is measured."""
    return {"BACKFILL_ROWS_PER_SECOND": "400", "ROLLOUT_TELEMETRY": "1"}


def pictured(visitor: Visitor, name: str) -> None:
    """Save what is seen, in both schemes."""
    directory = Path(os.environ["PICTURES"])
    directory.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        visitor.page.emulate_media(color_scheme=scheme)
        path = directory / f"{name}-{scheme}.png"
        visitor.page.screenshot(path=path, animations="disabled")
        Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)


def is_done(run: PhaseRun) -> bool:
    state = rollouts.state_of(run)
    assert state != RunState.FAILED, PhaseRun.objects.get(pk=run.pk).error
    return state == RunState.DONE


def share_done(visitor: Visitor) -> float:
    return float(visitor.page.locator("main progress").first.get_attribute("value") or 0)


def carry_out(rollout: Rollout, phase: int) -> None:
    run = rollouts.start(rollout, phase)
    wait_until(partial(is_done, run), seconds=300)


@pytest.mark.slow
@pytest.mark.skipif("PICTURES" not in os.environ, reason="taken by `make pictures`")
def test_the_main_pages_have_their_pictures_taken(
    site: Site, database: Database, worker: None, variables: dict[str, str], tmp_path: Path
) -> None:
    rollouts.load_listings(ROWS)
    rollout = rollouts.the_rollout()
    env = database.env(**variables)
    with (
        stopped_after(manage_process("traffic", env=env, log=tmp_path / "traffic.log")),
        site.visitor("lead") as lead,
    ):

        def picture(name: str, path: str) -> None:
            lead.open(path)
            pictured(lead, name)

        carry_out(rollout, 0)
        snapshot = runner.take_snapshot(rollout, actor=rollouts.ADA)
        wait_until(Snapshot.objects.filter(pk=snapshot.pk, state="verified").exists, seconds=120)
        rehearsal = runner.rehearse(rollout, actor=rollouts.ADA)
        passed = Rehearsal.objects.filter(pk=rehearsal.pk, state=RehearsalState.PASSED)
        wait_until(passed.exists, seconds=600)
        picture("rehearsal", rehearsal.get_absolute_url())
        picture("snapshot", snapshot.get_absolute_url())
        carry_out(rollout, 1)
        run = rollouts.start(rollout, 2)
        jobs = BackfillJob.objects.filter(kind="fill", step_run__run=run)
        wait_until(jobs.exists, seconds=120)
        lead.open(jobs.get().get_absolute_url())
        wait_until(lambda: share_done(lead) > 0.3, seconds=120)
        pictured(lead, "backfill")
        picture("rollout", PAGE)
        picture("phase", f"{PAGE}phases/2/")
        picture("rollouts", "/rollout/")
        wait_until(partial(is_done, run), seconds=300)
        lead.open(f"{PAGE}mappings/properties/type/")
        lead.page.locator("main table").first.evaluate("table => table.scrollIntoView()")
        pictured(lead, "mapping")
        rollouts.execute_past_triggers(
            "UPDATE properties SET property_type_id = (SELECT id FROM property_types"
            " WHERE name = 'House') WHERE id IN (SELECT id FROM properties WHERE type LIKE 'Ap%%'"
            " ORDER BY id LIMIT 12)"
        )
        audit = runner.start_audit(rollout, actor=rollouts.ADA)
        mismatched = AuditReport.objects.filter(pk=audit.pk, status="mismatched")
        wait_until(mismatched.exists, seconds=120)
        picture("audit", audit.get_absolute_url())
        picture("start", f"{PAGE}phases/3/start/")
        picture("rollback", f"{PAGE}phases/2/roll-back/")
        picture("schema", f"{PAGE}schema/")
        picture("monitoring", f"{PAGE}monitoring/")
        picture("activity", f"{PAGE}activity/")
        picture("inbox", "/rollout/inbox/")
