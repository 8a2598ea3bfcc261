"""Pictures of the main pages for the documents, light and dark: ``make pictures`` takes them."""

import os
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from rollout.models import AuditReport, BackfillJob, PhaseRun, RunState
from tests.console import journal
from tests.in_browser.visiting import Site, Visitor
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("in_browser")
PAGE = journal.PAGE
# Enough that a backfill can be seen at work.
ROWS = 120_000
# Pages have few colours: a palette makes a picture a third of its size, and nobody sees it.
COLOURS = 96


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


@pytest.mark.slow
@pytest.mark.skipif("PICTURES" not in os.environ, reason="taken by `make pictures`")
def test_the_main_pages_have_their_pictures_taken(
    site: Site, database: Database, worker: None
) -> None:
    rollouts.load_listings(ROWS)
    rollout = rollouts.the_rollout()
    with site.visitor("lead") as lead:
        for phase in (0, 1, 2):
            run = rollouts.start(rollout, phase)
            if phase == 2:
                wait_until(lambda: BackfillJob.objects.filter(kind="fill").exists(), seconds=120)
                lead.open(BackfillJob.objects.get(kind="fill").get_absolute_url())
                wait_until(lambda: share_done(lead) > 0.3, seconds=120)
                pictured(lead, "backfill")
                lead.open(PAGE)
                pictured(lead, "rollout")
            wait_until(partial(is_done, run), seconds=300)
        lead.open(f"{PAGE}mappings/properties/type/")
        lead.page.locator("main table").first.evaluate("table => table.scrollIntoView()")
        pictured(lead, "mapping")
        rollouts.execute_past_triggers(
            "UPDATE properties SET property_type_id = (SELECT id FROM property_types"
            " WHERE name = 'House') WHERE id IN (SELECT id FROM properties WHERE type LIKE 'Ap%%'"
            " ORDER BY id LIMIT 12)"
        )
        lead.open(PAGE)
        lead.press("Start full audit")
        wait_until(lambda: AuditReport.objects.filter(status="mismatched").exists(), seconds=120)
        lead.open(AuditReport.objects.filter(status="mismatched")[0].get_absolute_url())
        pictured(lead, "audit")
        lead.open(f"{PAGE}phases/3/start/")
        pictured(lead, "start")
