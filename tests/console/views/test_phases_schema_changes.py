"""What a phase changes in the schema, on the pages on which people answer for it."""

import re
from pathlib import Path

import pytest
from django.test import Client

from rollout.models import Rollout
from rollout.plan import plans
from rollout.plan.schema_changes import of_phase
from tests.console.journal import PAGE, ran, reached, text_of
from tests.plan.test_sql_files import NO_NOTES, NOTES, plan_with, written


def words_of(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


@pytest.mark.parametrize("page", ["start", "approval", "ticket"])
def test_an_approver_reads_the_schema_changes_of_the_phase(
    page: str, rollout: Rollout, lead: Client
) -> None:
    for phase in (0, 1, 2):
        ran(rollout, phase)
    text = text_of(lead, f"{PAGE}phases/3/{page}/")
    assert "4 added, 6 changed, 0 dropped" in text
    words = words_of(text)
    assert "column currency character varying(3) → character varying(3) not null" in words
    assert "+ Added: constraint properties_property_type_id_" in words
    assert "dual write, legacy columns lead → dual write, new columns lead" in words


def test_a_phase_that_changes_no_table_says_so(rollout: Rollout, lead: Client) -> None:
    assert "No table, view, index, constraint or trigger changes" in text_of(
        lead, f"{PAGE}phases/0/start/"
    )


def test_a_rollback_shows_the_same_the_other_way_round(rollout: Rollout, lead: Client) -> None:
    for phase in (0, 1):
        ran(rollout, phase)
    words = words_of(text_of(lead, f"{PAGE}phases/1/roll-back/"))
    assert "Schema changes of the rollback 0 added, 0 changed, 23 dropped" in words
    assert "− Dropped: Table property_types" in words


def test_the_schema_page_shows_the_next_phase(rollout: Rollout, viewer: Client) -> None:
    ran(rollout, 0)
    assert "What phase 1 changes</h2>" in text_of(viewer, f"{PAGE}schema/")
    run = ran(rollout, 1, "running")
    reached(run, plans.get(rollout.plan).phases[1].steps[0].id)
    text = text_of(viewer, f"{PAGE}schema/")
    assert re.search(r"What phase 1 changes, 1 of \d+ steps done</h2>", text)


def test_sql_files_are_named_whose_changes_the_plan_cannot_tell(tmp_path: Path) -> None:
    plan = plan_with(written(tmp_path, f010_notes_up=NOTES, f010_notes_down=NO_NOTES))
    assert of_phase(plan, 1).sql_files == ("Make a table of notes; it's new",)
    assert of_phase(plan, 2).sql_files == ()
