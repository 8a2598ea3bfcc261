"""Lookup rows that decisions make, rename and retire."""

from rollout.engine.target import Connection, Target
from rollout.plan.transition import fill
from tests.engine.actions import audit, run_fill
from tests.engine.mappings import (
    PLAN,
    SAMPLE,
    decide,
    names,
)


def test_a_merge_moves_the_rows_of_one_and_retires_what_nothing_leads_to(
    target: Target, mapped: Connection
) -> None:
    outcome = decide(mapped, {"House for sale": "House"})
    assert (outcome.made, outcome.renamed, outcome.retired) == ([], [], ["House for sale"])
    assert outcome.rows_affected == 4
    assert audit(target, PLAN).categories["wrong"] == 4
    run_fill(mapped, fill(PLAN, SAMPLE.table))
    assert audit(target, PLAN).mismatched == 0
    assert names(mapped)["House for sale"] is False


def test_a_row_whose_texts_all_get_a_new_name_is_renamed_and_no_row_need_be_written(
    target: Target, mapped: Connection
) -> None:
    outcome = decide(mapped, {"House": "Single-family home"})
    assert outcome.renamed == [("House", "Single-family home")]
    assert (outcome.made, outcome.retired, outcome.rows_affected) == ([], [], 0)
    assert {c.legacy for c in outcome.changes} == {"House", " house"}
    assert audit(target, PLAN).mismatched == 0


def test_the_larger_of_two_rows_that_merge_under_a_new_name_is_renamed(mapped: Connection) -> None:
    outcome = decide(mapped, {"House": "Home", "House for sale": "Home"})
    assert outcome.renamed == [("House", "Home")]
    assert outcome.retired == ["House for sale"]
    assert outcome.rows_affected == 4


def test_a_row_that_is_parted_keeps_one_of_the_names(target: Target, mapped: Connection) -> None:
    decide(mapped, {"Condo": "Flat", "Condop": "Flat"})
    outcome = decide(mapped, {"Condo": "Condo", "Condop": "Condop"})
    assert outcome.renamed == [("Flat", "Condo")]
    assert outcome.rows_affected == 1
    run_fill(mapped, fill(PLAN, SAMPLE.table))
    assert audit(target, PLAN).mismatched == 0


def test_the_spelling_of_a_name_can_be_decided(mapped: Connection) -> None:
    outcome = decide(mapped, {"house": "HOUSE"})
    assert outcome.renamed == [("House", "HOUSE")]
    assert outcome.rows_affected == 0
