"""Every page in Chromium, light and dark: no barrier, no console error, no failed request."""

from collections import Counter
from collections.abc import Callable

import pytest

from properties import catalog
from rollout.models import PhaseRun, Rollout, RunState
from tests.console import journal
from tests.console.http.test_access import last_part
from tests.in_browser.visiting import PHONE, Site
from tests.support.pages import OF_THE_SITE, addresses_of_the_console
from tests.support.servers import Database

pytestmark = pytest.mark.xdist_group("in_browser")

FRAGMENTS = ("preflight", "locks", "new")
"""Last parts of addresses that htmx asks for; the page they are in is here as well."""
OTHERS = ("phases/2/start/", "phases/2/roll-back/", "schema/", "monitoring/", "mappings/")
OF_A_STATE = ("", "phases/2/", "audits/", "snapshots/")


def nothing(rollout: Rollout) -> list[str]:
    pages = ["", "phases/0/start/", "phases/2/start/", "phases/0/roll-back/", "schema/"]
    return [*pages, "audits/", "snapshots/"]


def running(rollout: Rollout) -> list[str]:
    journal.processes_run()
    for phase in (0, 1):
        journal.ran(rollout, phase)
    run = journal.ran(rollout, 2, "running")
    step = journal.reached(run, "backfill", "running", waiting_for="The database is busy.")
    job = journal.job_of(step, scanned=12_000, updated=11_000, already_right=1_000)
    journal.audited(rollout, "running", blocks=1000, blocks_done=400)
    journal.taken(rollout, "taking", activity="Dumping properties.")
    return ["", "phases/2/", "audits/", "snapshots/", f"/rollout/jobs/{job.pk}/"]


def paused(rollout: Rollout) -> list[str]:
    PhaseRun.objects.filter(state=RunState.RUNNING).update(state=RunState.PAUSED)
    return [""]


def failed(rollout: Rollout) -> list[str]:
    error = "relation “properties” is locked"
    PhaseRun.objects.filter(state=RunState.PAUSED).update(
        state=RunState.FAILED, error=error, advice="Wait, then try again."
    )
    for run in PhaseRun.objects.filter(state=RunState.FAILED):
        run.steps.update(state="failed", error=error)
    return ["", "phases/2/"]


def mismatched(rollout: Rollout) -> list[str]:
    cells = [
        {"legacy": "Loft", "new": "House", "category": "wrong", "rows": 12},
        {"legacy": "House", "new": "House", "category": "ok", "rows": 49_000},
    ]
    translation = {
        "table": "properties",
        "column": "property_type_id",
        "legacy_column": "type",
        "lookup_table": "property_types",
        "categories": {"ok": 49_000, "wrong": 12},
        "cells": cells,
    }
    report = journal.audited(
        rollout, "mismatched", translations=[translation], mismatched=12, stored_mismatches=1
    )
    journal.mismatching(report, "1")
    journal.taken(rollout, "failed", error="pg_dump ended with 1", advice="Look at its output.")
    return ["", "snapshots/", f"/rollout/audits/{report.pk}/"]


STATES: dict[str, Callable[[Rollout], list[str]]] = {
    "nothing": nothing,
    "running": running,
    "paused": paused,
    "failed": failed,
    "mismatched": mismatched,
}


def absolute(path: str) -> str:
    return path if path.startswith("/") else journal.PAGE + path


def barriers_of(site: Site, addresses: list[str], *, who: str = "root") -> dict[str, list[str]]:
    """What is wrong with each page, light and dark."""
    wrong: dict[str, list[str]] = {}
    with site.visitor(who) as visitor:
        for address in addresses:
            visitor.open(address)
            barriers = visitor.barriers()
            visitor.page.emulate_media(color_scheme="dark")
            barriers += [f"dark: {line}" for line in visitor.barriers(colours_alone=True)]
            visitor.page.emulate_media(color_scheme="light")
            barriers += visitor.problems
            visitor.problems.clear()
            if barriers:
                wrong[address] = barriers
    return wrong


def listed(wrong: dict[str, list[str]]) -> str:
    return "\n".join(f"\n{address}\n" + "\n".join(lines) for address, lines in wrong.items())


@pytest.mark.parametrize("state", STATES)
def test_a_rollouts_pages_have_no_barrier_in_any_state(
    site: Site, database: Database, state: str
) -> None:
    """The states follow each other, as they do in a rollout; each has the pages that it changes."""
    pages = STATES[state](journal.the_rollout())
    wrong = barriers_of(site, [absolute(path) for path in pages])
    assert not wrong, listed(wrong)


def test_no_page_has_a_barrier_an_error_or_a_request_that_fails(
    site: Site, database: Database
) -> None:
    rollout = journal.the_rollout()
    listing = catalog.create_property({"title": "A house", "type": "House", "status": "For sale"})
    addresses = [
        address
        for address in addresses_of_the_console(rollout)
        if last_part(address) not in FRAGMENTS
    ]
    listings = [f"/properties/{listing.id}/", f"/properties/{listing.id}/edit/"]
    wrong = barriers_of(site, ["/rollout/", *addresses, *listings, *OF_THE_SITE])
    assert not wrong, listed(wrong)


def test_phase_4_shows_where_the_transitional_code_is(site: Site, database: Database) -> None:
    with site.visitor("viewer") as visitor:
        visitor.open(f"{journal.PAGE}phases/4/")
        visitor.reads("Both files are in")
        assert "properties/transition" in visitor.text
        assert not visitor.problems


def test_the_pages_before_the_login_have_no_barrier(site: Site) -> None:
    wrong = barriers_of(site, ["/accounts/login/", "/rollout/"], who="")
    assert not wrong, listed(wrong)


def test_pages_that_refuse_have_no_barrier(site: Site, database: Database) -> None:
    with site.visitor("viewer") as visitor:
        for address in ("/nowhere/", f"{journal.PAGE}phases/0/start/"):
            visitor.open(address)
            assert not visitor.barriers(), address


def test_no_page_is_wider_than_a_phone(site: Site, database: Database) -> None:
    # Its count stands on a tab beyond the edge of the phone, and the trend reaches beyond it.
    for _ in range(12):
        journal.audited(journal.the_rollout(), "mismatched", mismatched=1_234_567)
    too_wide = []
    with site.visitor("root", size=PHONE) as visitor:
        for path in (*OF_A_STATE, *OTHERS, "/rollout/", "/rollout/log/", "/properties/"):
            visitor.open(absolute(path))
            width = visitor.page.evaluate("document.documentElement.scrollWidth")
            if width > PHONE["width"]:
                too_wide.append((path, width))
    assert not too_wide


@pytest.mark.parametrize("width", [320, 360, PHONE["width"]])
def test_every_place_of_the_navigation_is_seen_on_a_phone(
    site: Site, database: Database, width: int
) -> None:
    with site.visitor("root", scripts=False, size={"width": width, "height": 780}) as visitor:
        visitor.open("/rollout/")
        places = visitor.page.get_by_role("navigation", name="Main").get_by_role("link").all()
        edges = []
        lines = Counter[float]()
        for place in places:
            box = place.bounding_box()
            assert box is not None
            edges.append((box["x"] >= 0, box["x"] + box["width"] <= width, box["height"] >= 24))
            lines[box["y"]] += 1
        assert len(edges) == 6
        assert all(map(all, edges)), edges
        assert min(lines.values()) > 1, f"a place stands alone in its line: {lines}"
