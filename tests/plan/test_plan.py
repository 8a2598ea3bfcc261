"""What a plan knows of itself: its steps, its shape after each phase, its version."""

from dataclasses import replace

import pytest

from rollout.plan import BackfillComplete, Column, Phase
from rollout.plan.actions import LockMode
from rollout.plan.gates import EarlierPhaseDone, NoGuardrailHolds
from tests.engine.sample_plans import with_step
from tests.engine.samples import BIGINT, COMPOSITE

PLAN = BIGINT.plan


def test_a_step_is_found_in_its_phase_by_its_id() -> None:
    assert PLAN.step(2, "backfill") is PLAN.phases[2].steps[3]
    with pytest.raises(KeyError, match="backfill"):
        PLAN.step(1, "backfill")


def test_the_shape_starts_as_the_tables_and_changes_phase_by_phase() -> None:
    assert PLAN.shape(0) == PLAN.shape(1) == {"things": dict(BIGINT.table.columns)}
    expanded = PLAN.shape(2)
    assert expanded["kinds"] == {
        "id": Column("integer", null=False),
        "name": Column("text", null=False),
        "active": Column("boolean", null=False),
    }
    assert expanded["things"]["kind_id"] == Column("integer")
    assert PLAN.shape(3) == expanded
    assert PLAN.shape(4)["things"]["kind_id"] == Column("integer", null=False)
    assert "kind" in PLAN.shape(4)["things"]
    assert PLAN.shape(5)["things"].keys() == {
        *("id", "made_at", "note", "kind_id", "state_id", "is_open", "opened_at")
    }


def test_asking_for_a_shape_does_not_change_the_plan() -> None:
    before = dict(BIGINT.table.columns)
    PLAN.shape(5)
    assert BIGINT.table.columns == before


def test_the_digest_is_the_plans_version() -> None:
    again = replace(PLAN, title="Other words", description="for people")
    assert again.digest == PLAN.digest
    assert COMPOSITE.plan.digest != PLAN.digest


def test_a_digest_of_a_phase_is_computed_once_for_all_pages_that_ask() -> None:
    plan = replace(PLAN)
    assert plan.digest_of(2) is plan.digest_of(2)
    assert len({plan.digest_of(number) for number in range(5)}) == 5
    assert plan.digest_of(2) == PLAN.digest_of(2)


@pytest.mark.parametrize("number", range(5))
def test_a_change_of_what_any_phase_does_changes_the_digest(number: int) -> None:
    steps = PLAN.phases[number].steps
    assert with_step(PLAN, number, replace(steps[0], id="once-more")).digest != PLAN.digest


def test_a_change_of_a_translation_changes_the_digest() -> None:
    other = replace(BIGINT.is_open, expression="{state} = 'sold'")
    kind, state, _, opened = PLAN.translations
    assert replace(PLAN, translations=(kind, state, other, opened)).digest != PLAN.digest


def test_every_phase_but_the_first_waits_for_the_one_before_it() -> None:
    gated = replace(PLAN, phases=(*PLAN.phases[:4], Phase(steps=(), gates=(BackfillComplete(),))))
    assert gated.gates_of(0) == ()
    assert gated.gates_of(1) == (EarlierPhaseDone(), NoGuardrailHolds())
    assert gated.gates_of(4) == (EarlierPhaseDone(), NoGuardrailHolds(), BackfillComplete())


def test_a_plan_without_rules_still_stops_at_a_wrong_lookup_value() -> None:
    rules = replace(PLAN, guardrails=()).all_guardrails
    assert {(rule.statistic, rule.action) for rule in rules} == {
        ("wrong_values", "pause"),
        ("wrong_values", "hold"),
    }


def test_translations_belong_to_their_table() -> None:
    assert PLAN.translations_of(COMPOSITE.table) == ()
    assert PLAN.lookups_of(BIGINT.table) == (BIGINT.kind, BIGINT.state)
    assert PLAN.audited_tables == (BIGINT.table,)
    assert PLAN.backfilled_tables == (BIGINT.table,)


def test_a_direction_names_each_lock_that_it_takes_once() -> None:
    locks = PLAN.forward(PLAN.step(3, "require")).locks
    assert [(lock.mode, lock.table) for lock in locks] == [
        (LockMode.ACCESS_EXCLUSIVE, "things"),
        (LockMode.SHARE_UPDATE_EXCLUSIVE, "things"),
    ]
    assert [lock.mode for lock in PLAN.forward(PLAN.step(2, "backfill")).locks] == [
        LockMode.ROW_EXCLUSIVE
    ]


def test_dropping_a_foreign_key_locks_both_tables() -> None:
    locks = PLAN.backward(PLAN.step(3, "kind-key")).locks
    assert {(lock.mode, lock.table) for lock in locks} == {
        (LockMode.ACCESS_EXCLUSIVE, "things"),
        (LockMode.ACCESS_EXCLUSIVE, "kinds"),
    }


@pytest.mark.parametrize(
    ("mode", "blocks"),
    [
        (LockMode.ACCESS_EXCLUSIVE, "reads and writes"),
        (LockMode.SHARE_ROW_EXCLUSIVE, "writes"),
        (LockMode.SHARE_UPDATE_EXCLUSIVE, "nothing the application does"),
    ],
)
def test_a_lock_says_what_others_cannot_do_meanwhile(mode: LockMode, blocks: str) -> None:
    assert mode.blocks == blocks
