"""The page of transitional code, its verdict on phase 4, and the ways to it."""

from pathlib import Path

import pytest

from rollout.console.views.leftovers import verdict_of
from rollout.models import Rollout
from rollout.queries import leftovers
from rollout.queries.leftovers import Leftover, Leftovers
from tests.console import journal
from tests.console.journal import PAGE, browser_of, text_of

pytestmark = pytest.mark.django_db
ADDRESS = f"{PAGE}leftovers/"


def test_phase_4_its_start_and_its_approval_lead_to_the_files_that_need_the_legacy_schema(
    before_phase_3: Rollout,
) -> None:
    client = browser_of("lead")
    for page in (f"{PAGE}phases/4/", f"{PAGE}phases/4/start/", f"{PAGE}phases/4/approval/"):
        assert f'href="{ADDRESS}"' in text_of(client, page).split('class="section"')[0]
        assert text_of(client, page).count(f'href="{ADDRESS}"') == 1
    assert ADDRESS not in text_of(client, f"{PAGE}phases/3/")
    page = text_of(client, ADDRESS)
    assert "2 files left: phase 4 may start, the code switches automatically" in page
    assert "It asks Rollout which schema to use (its modes)." in page
    assert "properties/transition/shapes.py" in page
    assert "Both files are in <code>" in page
    assert "properties/transition</code>" in page
    assert "Asks for the modes" in page
    assert "manage.py rollout leftovers property-classification" in page


def test_a_finished_rollout_leads_to_the_files_to_clean_up(rollout: Rollout) -> None:
    for phase in range(5):
        journal.ran(rollout, phase)
    client = browser_of("lead")
    assert f'href="{ADDRESS}"' in text_of(client, PAGE)
    assert "2 files left to clean up" in text_of(client, ADDRESS)


LINE = Leftover(Path("orders.py"), 7, "query", "state")
ASKING = Leftover(Path("orders.py"), 3, "modes", "current_modes")


@pytest.mark.parametrize(
    ("lines", "dropped", "heading", "tone"),
    [
        ((), False, "Nothing left: phase 4 may start", "good"),
        ((), True, "Nothing left to remove", "good"),
        ((LINE,), False, "1 file left: clean up before phase 4", "bad"),
        (
            (LINE, ASKING),
            False,
            "1 file left: phase 4 may start, the code switches automatically",
            "good",
        ),
        ((LINE, ASKING), True, "1 file left to clean up", "info"),
        ((LINE,), True, "1 file left: lines that name dropped columns fail", "bad"),
    ],
)
def test_the_verdict_says_first_whether_phase_4_may_start(
    lines: tuple[Leftover, ...], dropped: bool, heading: str, tone: str
) -> None:
    verdict = verdict_of(Leftovers((), 1, lines), dropped=dropped)
    assert (verdict.heading, verdict.tone) == (heading, tone)


def test_a_machine_without_the_source_says_so(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "project_roots", tuple)
    page = text_of(browser_of("viewer"), ADDRESS)
    assert "No source on this machine" in page
    assert "Nothing left" not in page
