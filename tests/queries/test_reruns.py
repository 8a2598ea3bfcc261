"""Whether running a done phase again changes anything: asked in a shell and on the phase's page."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client

from rollout.models import Rollout
from rollout.plan import plans
from rollout.plan.psql_scripts import forward_script
from rollout.queries import reruns
from rollout.runner import Refused
from tests.console import journal
from tests.console.journal import PAGE, fragment_of, text_of
from tests.support import rollouts
from tests.support.rollback_scripts import carry_out, everything
from tests.support.rollouts import PLAN, Cli
from tests.support.servers import Database


@pytest.fixture
def quiet() -> Iterator[None]:
    """Statements of the tests' own, around the triggers."""
    rollouts.execute("SET session_replication_role = replica")
    yield
    rollouts.execute("RESET session_replication_role")


def answers(row: Rollout, phase: int) -> dict[str, str]:
    return {step.step.id: step.state for step in reruns.verify(row, phase).steps}


def test_a_done_phase_is_verified_and_a_second_run_of_its_script_changes_nothing(
    filled: Rollout, cli: Cli, committed_db: Database, tmp_path: Path
) -> None:
    before = everything(committed_db)
    code, out, _ = cli("verify", PLAN, "2")
    assert (code, out.splitlines()[-1]) == (0, "Running phase 2 again changes nothing.")
    assert "applied  dual-write: Already applied." in out
    assert "looks    audit: Read-only." in out
    assert everything(committed_db) == before
    code, output = carry_out(forward_script(plans.get(PLAN), 2), committed_db, tmp_path)
    assert code == 0, output
    assert everything(committed_db) == before
    code, out, _ = cli("verify", PLAN, "2", "--json")
    assert (code, json.loads(out)["changes_nothing"]) == (0, True)


def test_step_that_is_undone_is_named_and_answered_with_no(
    filled: Rollout, cli: Cli, quiet: None
) -> None:
    rollouts.execute(
        "UPDATE properties SET currency = NULL WHERE id IN (SELECT id FROM properties LIMIT 3)"
    )
    rollouts.execute('DROP TRIGGER "rollout_property-classification_update" ON properties')
    code, out, _ = cli("verify", PLAN, "2")
    assert code == 1
    assert "changed  backfill: Missing now: 3 rows of properties still to write." in out
    assert "changed  dual-write: Missing now: " in out
    assert out.splitlines()[-1].startswith("Running phase 2 again would change something")


def test_only_the_newest_phase_is_asked_about_and_only_once_it_is_done(
    filled: Rollout, cli: Cli
) -> None:
    code, out, err = cli("verify", PLAN, "1")
    assert (code, out) == (1, "")
    assert "Phase 2 has started since and builds on phase 1" in err
    assert "Phase 3 is not done" in cli("verify", PLAN, "3")[2]
    with pytest.raises(Refused, match="Phase 9 is not done"):
        reruns.verify(filled, 9)


def test_the_page_of_a_phase_has_the_same_answer(filled: Rollout) -> None:
    viewer = journal.browser_of("viewer")
    address = f"{PAGE}phases/2/second-run/"
    # In the part that is requested again: it is there as soon as the phase is done.
    assert f'href="{address}"' in fragment_of(viewer, f"{PAGE}phases/2/")
    assert f'href="{PAGE}phases/1/second-run/"' not in text_of(viewer, f"{PAGE}phases/1/")
    fragment = fragment_of(viewer, address)
    assert "Running phase 2 again changes nothing." in fragment
    assert fragment.count("Already applied.") == 6
    assert "<html" not in fragment
    assert "<h1>Second run of phase 2: Backfill</h1>" in text_of(viewer, address)
    assert "Phase 2 has started since" in fragment_of(viewer, f"{PAGE}phases/1/second-run/")
    assert Client().get(address).status_code == 302


def test_a_question_that_takes_too_long_is_given_up_on_the_page(filled: Rollout) -> None:
    with rollouts.locked("LOCK property_images"):
        verified = reruns.verify(filled, 2, seconds=1)
    of_step = {step.step.id: step for step in verified.steps}
    assert of_step["backfill-images"].state == "unknown"
    assert of_step["backfill"].state == "applied"
    assert verified.verdict == "Unknown whether running phase 2 again would change something."
