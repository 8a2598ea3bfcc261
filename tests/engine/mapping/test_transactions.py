"""Decisions in one transaction with the mapping: what texts mean afterwards, in any order."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.engine import mapping
from rollout.engine.mapping import CannotDecide, Decision, MappingLocked
from rollout.engine.target import Connection, Target
from rollout.plan.transition import fill
from tests.engine.actions import audit, do_until, run_fill, undo_phase
from tests.engine.mappings import (
    KIND,
    PLAN,
    SAMPLE,
    STATE,
    decide,
    fill_table,
    meanings,
    name_of,
    names,
    review_of,
    whys,
    write_around_the_triggers,
)
from tests.engine.samples import past_triggers
from tests.support.bare_databases import clear


def test_decisions_before_phase_2_are_what_it_maps(target: Target, unmapped: Connection) -> None:
    outcome = decide(unmapped, {"house for SALE": "House", "Condop": "Co-op"})
    assert outcome.rows_affected == 0
    assert outcome.new_names == ["Co-op"], "no other text means it"
    assert decide(unmapped, {"Condo": "co-op"}, keep=False).new_names == []
    assert {(c.legacy, c.after) for c in outcome.changes} == {
        ("House for sale", "House"),
        ("Condop", "Co-op"),
    }
    do_until(target, unmapped, PLAN, "backfill")
    assert meanings(unmapped)["House for sale"] == "House"
    assert names(unmapped).keys() == {"House", "Apartment", "Condo", "Co-op", "Unspecified"}
    assert audit(target, PLAN).mismatched == 0


def test_decisions_outlive_a_rollback_of_phase_2(target: Target, mapped: Connection) -> None:
    decide(mapped, {"House for sale": "House"})
    undo_phase(target, mapped, PLAN, 2)
    assert meanings(mapped)["House for sale"] == "House"
    assert whys(mapped)["House for sale"] == "decided"


def test_no_value_is_the_row_for_blanks_where_the_column_is_required(mapped: Connection) -> None:
    decide(mapped, {"Condop": None})
    assert meanings(mapped)["Condop"] == "Unspecified"


def test_no_value_is_null_where_the_column_may_be_empty(target: Target, mapped: Connection) -> None:
    mapping.decide(mapped, PLAN, STATE, {"OPEN": Decision(None)}, reviewer="grace", keep=True)
    run_fill(mapped, fill(PLAN, SAMPLE.table))
    assert mapped.execute("SELECT count(*) FROM things WHERE state_id IS NULL").fetchone() == (19,)
    assert audit(target, PLAN).mismatched == 0
    with past_triggers(mapped):
        mapped.execute("UPDATE things SET state_id = (SELECT min(id) FROM states) WHERE id = 1")
    assert audit(target, PLAN).categories["unexpected"] == 1


def test_a_decision_that_is_taken_back_leaves_the_rule_of_the_plan(mapped: Connection) -> None:
    decide(mapped, {"apt": "Studio", "House for sale": "House"})
    back = {"apt": Decision(by_default=True), "House for sale": Decision(by_default=True)}
    mapping.decide(mapped, PLAN, KIND, back, reviewer="ada", keep=True)
    assert meanings(mapped)["apt"] == "Apartment"
    assert whys(mapped)["apt"] == "synonym"
    assert meanings(mapped)["House for sale"] == "House for sale"
    assert names(mapped)["House for sale"] is True


def test_writes_of_the_application_follow_decisions_and_synonyms_at_once(
    mapped: Connection,
) -> None:
    decide(mapped, {"Bungalow": "House"})
    assert name_of(mapped, " BUNGALOW") == "House"
    assert name_of(mapped, "whg") == "Apartment"
    assert name_of(mapped, "Tower") == "Tower"


TOO_LONG = "A " + "very " * 50 + "long kind"


@pytest.mark.parametrize("name", ["Moon base", "House", None])
@pytest.mark.parametrize("text", ["Moon base", TOO_LONG], ids=["short", "too long"])
def test_a_text_that_no_mapping_knows_gets_its_place_when_somebody_decides(
    target: Target, mapped: Connection, text: str, name: str | None
) -> None:
    write_around_the_triggers(mapped, text, f" {text.upper()}")
    value = next(v for v in review_of(mapped).values if v.text in (text, f" {text.upper()}"))
    assert (value.is_unmapped, value.name) == (True, None)
    assert (value.proposed is None) == (text == TOO_LONG)
    outcome = decide(mapped, {text: name})
    assert {(c.legacy, c.before, c.after, c.unmapped) for c in outcome.changes} == {
        (spelling, None, name or "Unspecified", True) for spelling in (text, f" {text.upper()}")
    }
    assert (outcome.decided, outcome.newly_mapped, outcome.rows_affected) == (1, 2, 2)
    run_fill(mapped, fill(PLAN, SAMPLE.table))
    assert audit(target, PLAN).mismatched == 0


def test_another_spelling_of_a_decided_text_that_no_mapping_knows_can_be_confirmed(
    target: Target, mapped: Connection
) -> None:
    decide(mapped, {"Condo": "House"})
    write_around_the_triggers(mapped, "CONDO")
    value = next(v for v in review_of(mapped).values if v.normal == "condo")
    assert (value.name, value.is_unmapped) == ("House", True)
    outcome = decide(mapped, {"condo": "House"})
    assert (outcome.decided, outcome.newly_mapped, outcome.rows_affected) == (0, 1, 1)
    run_fill(mapped, fill(PLAN, SAMPLE.table))
    assert audit(target, PLAN).mismatched == 0


def test_a_text_that_is_too_long_for_a_name_can_be_decided_before_phase_2_too(
    target: Target, unmapped: Connection
) -> None:
    unmapped.execute("UPDATE things SET kind = %s WHERE id = 1", [TOO_LONG])
    value = next(v for v in review_of(unmapped).values if v.text == TOO_LONG)
    assert (value.is_unmapped, value.name) == (True, None)
    outcome = decide(unmapped, {TOO_LONG: "House"})
    assert [(c.before, c.after, c.unmapped) for c in outcome.changes] == [(None, "House", True)]
    do_until(target, unmapped, PLAN, "backfill")
    assert audit(target, PLAN).mismatched == 0


def test_confirming_spellings_that_go_together_changes_none_of_them_before_phase_2(
    unmapped: Connection,
) -> None:
    assert decide(unmapped, {" house": "House"}, keep=False).changes == []
    outcome = decide(unmapped, {"House": "House"})
    assert (outcome.changes, outcome.decided) == ([], 1)
    other_name = decide(unmapped, {"House": "HOUSE"}, keep=False)
    assert {(c.legacy, c.after) for c in other_name.changes} == {
        ("House", "HOUSE"),
        (" house", "HOUSE"),
    }


def test_spellings_that_go_together_are_previewed_under_the_one_name_that_they_get(
    unmapped: Connection,
) -> None:
    decide(unmapped, {"House": "Home"})
    back = {"House": Decision(by_default=True)}
    outcome = mapping.decide(unmapped, PLAN, KIND, back, reviewer="ada", keep=False)
    assert {(c.legacy, c.after) for c in outcome.changes} == {
        ("House", "House"),
        (" house", "House"),
    }


def test_a_preview_changes_nothing_and_tells_what_carrying_out_tells(mapped: Connection) -> None:
    before = (meanings(mapped), names(mapped))
    preview = decide(mapped, {"House for sale": "Home", "Condop": "Condo"}, keep=False)
    assert (meanings(mapped), names(mapped)) == before
    assert decide(mapped, {"House for sale": "Home", "Condop": "Condo"}) == preview


def test_deciding_the_same_twice_changes_nothing(mapped: Connection) -> None:
    decide(mapped, {"House for sale": "House"})
    again = decide(mapped, {"House for sale": "House"})
    assert (again.changes, again.decided) == ([], 0)


def test_a_decision_waits_for_no_application_that_holds_the_mapping(
    mapped: Connection, app: Connection
) -> None:
    with app.transaction():
        name_of(app, "Castle")
        with pytest.raises(MappingLocked, match="Try again"):
            decide(mapped, {"House for sale": "House"})
    assert decide(mapped, {"House for sale": "House"}).decided == 1


FORMS = ["House", "House for sale", "apt", "Condo", "Condop"]
DECISIONS = st.dictionaries(
    st.sampled_from(FORMS), st.sampled_from([*FORMS, "Home", "Flat", "flat", None]), max_size=5
)


@pytest.fixture(scope="module")
def filled_once(target: Target, module_connection: Connection) -> Connection:
    clear(module_connection)
    fill_table(module_connection)
    do_until(target, module_connection, PLAN, "backfill")
    return module_connection


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(DECISIONS, min_size=1, max_size=3))
def test_after_any_decisions_texts_mean_what_was_decided_and_correction_makes_the_audit_clean(
    target: Target, filled_once: Connection, rounds: list[dict[str, str | None]]
) -> None:
    connection = filled_once
    decided: dict[str, str | None] = {}
    for decisions in rounds:
        try:
            outcome = decide(connection, decisions)
        except CannotDecide:
            continue
        decided |= decisions
        meant = meanings(connection)
        for text, name in decided.items():
            assert (meant[text] or "").lower() == (name or "Unspecified").lower()
        wrong = audit(target, PLAN).categories.get("wrong", 0)
        assert wrong == outcome.rows_affected
        run_fill(connection, fill(PLAN, SAMPLE.table))
        result = audit(target, PLAN)
        assert result.mismatched == 0, result.categories
        # Every row of the table leads to a row in use, whose name means that row.
        named = connection.execute(
            "SELECT DISTINCT l.name, l.active FROM things JOIN kinds AS l ON l.id = kind_id"
        ).fetchall()
        assert all(active for _, active in named)
        assert decide(connection, {name: name for name, _ in named}, keep=False).changes == []
