"""A rollback takes away what its plan brought, and nothing else."""

from dataclasses import replace

import pytest

from rollout import plan as r
from rollout.checks.plans import check_plan
from tests.engine.sample_plans import with_step
from tests.engine.samples import BIGINT
from tests.schemas import STATUS, plan_of, table

PLAN, TABLE = BIGINT.plan, BIGINT.table
LISTED = table("parcel", state="text")


def ids(plan: r.Plan) -> set[str | None]:
    errors = check_plan(plan)
    assert all(error.hint for error in errors)
    return {error.id for error in errors}


@pytest.mark.parametrize(
    "translation",
    [
        r.Derived(
            table=LISTED, column="state", type="text", expression="coalesce({state}, 'live')"
        ),
        r.Computed(
            table=LISTED,
            columns={"state": r.Column("text")},
            reads=("id",),
            function="properties.images.facts_of_stored",
        ),
        r.Lookup(table=LISTED, legacy="state", column="state", lookup_table="states"),
    ],
    ids=["derived", "computed", "lookup"],
)
def test_a_translation_onto_a_column_that_the_table_has_is_e030(
    translation: r.Derived | r.Computed | r.Lookup,
) -> None:
    assert "rollout.E030" in ids(plan_of(translation))


def test_a_step_that_adds_a_column_that_the_table_has_is_e030() -> None:
    step = r.AddColumns(
        id="again", description="", table=TABLE, columns={"made_at": r.Column("text")}
    )
    assert ids(with_step(PLAN, 1, step)) == {"rollout.E030"}


def test_a_column_that_two_steps_add_is_e031() -> None:
    step = r.AddColumns(id="again", description="", table=TABLE, of=(BIGINT.kind,))
    assert ids(with_step(PLAN, 1, step)) == {"rollout.E031"}


def test_a_lookup_table_that_the_plan_works_on_is_e032() -> None:
    onto = replace(STATUS, lookup_table="countries")
    tables = (STATUS.table, table("countries", code="text"))
    assert ids(plan_of(onto, tables=tables)) == {"rollout.E032"}


def test_a_lookup_table_that_no_step_makes_is_e033() -> None:
    plan = plan_of(STATUS)
    without = replace(
        plan.phases[1],
        steps=tuple(s for s in plan.phases[1].steps if not isinstance(s, r.CreateLookupTable)),
    )
    phases = (plan.phases[0], without, *plan.phases[2:])
    assert "rollout.E033" in ids(replace(plan, phases=phases))


def test_a_value_that_is_required_already_is_e034() -> None:
    step = r.RequireValues(id="again", description="", table=TABLE, columns=("made_at",))
    assert ids(with_step(PLAN, 3, step)) == {"rollout.E034"}


@pytest.mark.parametrize("kind", [r.FreezeLegacy, r.ArchiveLegacy, r.DropLegacy])
@pytest.mark.parametrize("what", ["derived", "computed"])
def test_a_step_about_legacy_texts_of_a_table_that_has_none_is_e035(
    kind: type[r.FreezeLegacy | r.ArchiveLegacy | r.DropLegacy], what: str
) -> None:
    remark = table("parcel", remark="text")
    translation: r.Derived | r.Computed = r.Derived(
        table=remark,
        column="note",
        type="text",
        expression="{remark}",
        required=False,
        writable=False,
    )
    if what == "computed":
        translation = r.Computed(
            table=remark,
            columns={"note": r.Column("text")},
            reads=("remark",),
            function="properties.images.facts_of_stored",
        )
    step = kind(id="legacy", description="", table=remark)
    assert ids(plan_of(translation, extra={4: (step,)})) == {"rollout.E035"}


def test_legacy_columns_that_are_dropped_without_an_archive_are_e036() -> None:
    plan = plan_of(STATUS)
    without = replace(
        plan.phases[4],
        steps=tuple(s for s in plan.phases[4].steps if not isinstance(s, r.ArchiveLegacy)),
    )
    assert ids(replace(plan, phases=(*plan.phases[:4], without))) == {"rollout.E036"}


def test_an_archive_after_the_drop_is_e036_too() -> None:
    plan = plan_of(STATUS)
    frozen, archived, dropped = plan.phases[4].steps
    phase = replace(plan.phases[4], steps=(frozen, dropped, archived))
    assert ids(replace(plan, phases=(*plan.phases[:4], phase))) == {"rollout.E036"}


@pytest.mark.parametrize("column", ["kind", "kind_id"])
def test_a_default_that_is_filled_into_a_column_of_somebody_elses_is_e059(column: str) -> None:
    step = r.SetDefault(id="d", description="", table=TABLE, column=column, default="NULL")
    assert "rollout.E059" in ids(with_step(PLAN, 2, step))
    assert ids(with_step(PLAN, 2, replace(step, fill=False))) <= {"rollout.E057"}
    assert ids(with_step(PLAN, 2, replace(step, column="note"))) == set()
