"""A database that has the schema of a phase already is recorded as such, once it is compared."""

import pytest
from django.urls import reverse

from rollout import runner
from rollout.lookups import lookup_id
from rollout.models import LogEntry, Rollout
from rollout.modes import Modes, modes_now
from rollout.queries.preflights import preflight_of
from rollout.queries.status import status_of
from tests.console import journal
from tests.support import rollouts
from tests.support.rollouts import ADA, PLAN, Cli


def blocking(rollout: Rollout) -> list[tuple[str, str]]:
    """What blocks phase 0, and what to do."""
    items = preflight_of(rollout, 0).items
    return [(item.evidence, item.advice) for item in items if item.level == "blocks"]


def test_a_database_in_the_final_schema_is_adopted_with_all_that_the_application_asks_for(
    contracted: Rollout, cli: Cli
) -> None:
    contracted.runs.all().delete()
    rollouts.execute("DROP SCHEMA rollout CASCADE")
    advice = f"Record it: manage.py rollout adopt {PLAN} --phase 4."
    assert ("The database has the schema after phase 4 already.", advice) in blocking(contracted)
    code, _, err = cli("adopt", PLAN, "--phase", "3")
    assert code == 1
    assert err.startswith("The database does not have the schema after phase 3: ")

    code, out, _ = cli("adopt", PLAN, "--phase", "4")
    assert (code, out.splitlines()[-1]) == (0, "Phase 4 is recorded as done.")
    assert LogEntry.objects.filter(event="phase adopted").count() == 5
    assert modes_now(PLAN) == Modes("new", "new", frozenset({"listing_counts"}))
    assert lookup_id(PLAN, "properties.type", "Houseboat")
    status = status_of(contracted)
    assert status.phase == 4
    browser = journal.browser_of("lead")
    for page in (
        reverse("rollout:rollout", args=[PLAN, "production"]),
        reverse("rollout:phase", args=[PLAN, "production", 4]),
    ):
        assert browser.get(page).status_code == 200
    with pytest.raises(runner.Refused, match="have started in production"):
        runner.adopt(contracted, 4, actor=ADA)


def test_a_database_in_the_middle_of_the_phases_is_adopted_with_its_modes(filled: Rollout) -> None:
    filled.runs.all().delete()
    rollouts.execute("DELETE FROM rollout.modes")
    assert [run.phase for run in runner.adopt(filled, 2, actor=ADA)] == [0, 1, 2]
    assert modes_now(PLAN) == Modes("legacy", "both")
