"""The page of transitional code, and the ways to it."""

import pytest

from rollout.models import Rollout
from rollout.queries import leftovers
from tests.console.journal import PAGE, browser_of, text_of

pytestmark = pytest.mark.django_db
ADDRESS = f"{PAGE}leftovers/"


def test_phase_4_and_its_start_lead_to_the_files_that_still_need_the_legacy_schema(
    before_phase_3: Rollout,
) -> None:
    client = browser_of("lead")
    for page in (f"{PAGE}phases/4/", f"{PAGE}phases/4/start/"):
        assert f'href="{ADDRESS}"' in text_of(client, page)
    assert ADDRESS not in text_of(client, f"{PAGE}phases/3/")
    page = text_of(client, ADDRESS)
    assert "properties/shapes.py" in page
    assert "Asks for the modes" in page
    assert "manage.py rollout leftovers property-classification" in page


def test_a_machine_without_the_source_says_so(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "project_roots", tuple)
    page = text_of(browser_of("viewer"), ADDRESS)
    assert "No source on this machine" in page
    assert "Nothing is left" not in page
