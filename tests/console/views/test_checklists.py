"""The checklist of phase 0 on its page."""

from django.test import Client

from rollout.models import Rollout
from tests.console.journal import PAGE, ran, text_of


def test_the_checklist_is_ticked_and_its_tick_taken_back(
    rollout: Rollout, engineer: Client, viewer: Client
) -> None:
    ran(rollout, 0)
    text = text_of(engineer, PAGE)
    assert " of 5 items open: " in text
    assert f'name="next" value="{PAGE}#item-rollback-scripts"' in text
    assert '<li id="item-rollback-scripts">' in text
    tick = f"{PAGE}checklist/rollback-scripts/"
    here = f"{PAGE}#item-rollback-scripts"
    answer = engineer.post(tick, {"next": here})
    assert answer["Location"] == here, "the page stays where the item is"
    assert "“Rollback scripts exported” marked done." in text_of(engineer, PAGE)
    assert "Done by engineer" in text_of(viewer, f"{PAGE}phases/0/")
    assert ">Undo</button>" not in text_of(viewer, PAGE)
    engineer.post(tick, {"take_back": "1"})
    assert "Done by engineer" not in text_of(viewer, PAGE)
    ran(rollout, 1)
    assert 'id="checklist"' not in text_of(viewer, PAGE)
