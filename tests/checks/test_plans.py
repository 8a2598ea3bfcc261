"""A plan that could hurt is refused when the project starts, each time with a hint."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from django.core import checks as django_checks

from properties.rollout import PLAN as SHIPPED
from rollout.checks import plans
from rollout.checks.plans import check_plan, check_plans
from rollout.plan import (
    AddCheck,
    AddForeignKey,
    AddUnique,
    Column,
    CreateIndex,
    Derived,
    DropIndex,
    Lookup,
    Plan,
    RequireValues,
    RunTask,
    Step,
    Table,
)
from rollout.plan.plan import Actions
from rollout.plan.registry import Registry
from tests.checks.refusals import problems
from tests.engine.sample_plans import with_step
from tests.engine.samples import BIGINT, COMPOSITE, SAMPLES, Sample

PLAN, TABLE = BIGINT.plan, BIGINT.table


@dataclass(frozen=True, kw_only=True)
class BurnBridges(Step):
    """A step that a careless person wrote."""

    way_back: Actions | None = None

    def forward(self, plan: Plan) -> Actions:
        return ()

    def backward(self, plan: Plan) -> Actions | None:
        return self.way_back


@dataclass(frozen=True, kw_only=True)
class BurnTable(BurnBridges):
    destructive = True


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_sound_plan_has_no_errors(sample: Sample) -> None:
    assert check_plan(sample.plan) == []


def test_the_shipped_plan_has_no_errors() -> None:
    assert check_plan(SHIPPED) == []
    assert django_checks.run_checks(tags=["rollout"]) == []


@pytest.mark.parametrize(
    "step",
    [
        BurnBridges(id="burn", description="Burn", way_back=None),
        BurnTable(id="burn", description="Burn", way_back=None),
        BurnTable(id="burn", description="Burn", way_back=()),
    ],
    ids=["no way back", "destructive without one", "destructive with nothing in it"],
)
def test_a_step_that_cannot_be_undone_is_e001(step: Step) -> None:
    assert problems(with_step(PLAN, 4, step)) == [
        ("rollout.E001", "Step 'burn' of phase 4 defines no rollback.")
    ]


def test_a_harmless_step_with_nothing_to_undo_is_accepted() -> None:
    step = BurnBridges(id="look", description="Look", way_back=())
    assert check_plan(with_step(PLAN, 0, step)) == []


def test_a_derived_value_of_a_column_that_is_not_there_is_e002() -> None:
    derived = replace(BIGINT.is_open, expression="{colour} = 'red'")
    plan = replace(PLAN, translations=(BIGINT.kind, BIGINT.state, derived))
    assert ("rollout.E002", MISSING_COLUMN.format("is_open", "colour")) in problems(plan)


def test_a_unique_constraint_of_a_partitioned_table_is_e058() -> None:
    parted = replace(TABLE, partitioned=True)
    step = AddUnique(id="u", description="", table=parted, columns=("id",))
    plan = replace(with_step(PLAN, 3, step), tables=(TABLE, parted))
    ((check, message),) = problems(plan)
    assert check == "rollout.E058"
    assert "adds a UNIQUE constraint to things, which is partitioned" in message


def test_a_lookup_of_a_column_that_is_not_there_is_e002() -> None:
    misspelt = replace(BIGINT.kind, legacy="knid")
    plan = replace(PLAN, translations=(misspelt, *PLAN.translations[1:]))
    assert ("rollout.E002", MISSING_COLUMN.format("kind_id", "knid")) in problems(plan)


MISSING_COLUMN = "The translation of things.{} reads '{}', which is not declared."


def test_two_steps_of_one_id_in_a_phase_are_e012() -> None:
    plan = with_step(PLAN, 2, replace(PLAN.step(2, "audit"), id="backfill"))
    assert problems(plan) == [("rollout.E012", "Phase 2 has 2 steps called 'backfill'.")]


def test_one_id_in_two_phases_is_accepted() -> None:
    ids = [[step.id for step in phase.steps] for phase in PLAN.phases]
    assert "audit" in ids[2]
    assert "audit" in ids[3]
    assert check_plan(PLAN) == []


def test_two_translations_of_one_column_are_e013() -> None:
    again = Derived(table=TABLE, column="kind_id", type="integer", expression="1")
    plan = replace(PLAN, translations=(*PLAN.translations, again))
    assert ("rollout.E013", "2 translations target things.kind_id.") in problems(plan)


def test_two_plans_of_one_name_are_e003(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    registry.register(PLAN)
    registry.register(PLAN)
    monkeypatch.setattr(plans, "plans", registry)
    errors = check_plans(app_configs=None)
    assert [(error.id, error.msg) for error in errors] == [
        ("rollout.E003", "2 plans are called 'sample-bigint'.")
    ]
    assert errors[0].hint


@pytest.mark.parametrize(
    ("number", "step_of", "allowed"),
    [
        (1, lambda: PLAN.step(2, "backfill"), "2"),
        (2, lambda: PLAN.step(4, "drop"), "4"),
        (2, lambda: PLAN.step(3, "cut-over"), "3"),
        (0, lambda: PLAN.step(1, "add-columns"), "1"),
        (2, lambda: AddForeignKey(id="k", description="", lookup=BIGINT.kind), "3"),
        (1, lambda: CreateIndex(id="k", description="", table=TABLE, name="k", columns=()), "3, 4"),
        (3, lambda: DropIndex(id="k", description="", table=TABLE, name="k", columns=()), "4"),
    ],
)
def test_a_step_in_a_phase_where_it_is_not_safe_is_e004_and_told_where_it_belongs(
    number: int, step_of: Callable[[], Step], allowed: str
) -> None:
    step = replace(step_of(), id="moved")
    (error,) = (e for e in check_plan(with_step(PLAN, number, step)) if e.id == "rollout.E004")
    assert error.msg == f"Step 'moved' ({type(step).__name__}) is not allowed in phase {number}."
    assert error.hint == f"Move it to phase {allowed}."


def test_a_table_without_a_key_is_e005() -> None:
    keyless: Any = replace(TABLE, key=())
    plan = replace(PLAN, tables=(keyless,))
    assert ("rollout.E005", "Table things has no primary key.") in problems(plan)


def test_a_step_or_a_translation_of_a_table_that_the_plan_lacks_is_e006() -> None:
    other = Table(name="others", key=("id",), columns={})
    index = CreateIndex(id="i", description="", table=other, name="i", columns=("id",))
    assert problems(with_step(PLAN, 4, index)) == [
        ("rollout.E006", "Step 'i' is of table others, which is not in Plan.tables.")
    ]
    plan = replace(PLAN, translations=(*PLAN.translations, COMPOSITE.is_open))
    assert (
        "rollout.E006",
        "The translation of is_open is of table elsewhere.things, which is not in Plan.tables.",
    ) in problems(plan)


def test_a_step_that_names_a_translation_that_the_plan_lacks_is_e007() -> None:
    lookup = Lookup(table=TABLE, legacy="state", column="other_id", lookup_table="others")
    step = AddForeignKey(id="k", description="", lookup=lookup)
    assert problems(with_step(PLAN, 3, step)) == [
        (
            "rollout.E007",
            "Step 'k' of phase 3 names the translation of things.other_id, which is not in "
            "Plan.translations.",
        )
    ]


def test_an_error_names_its_plan() -> None:
    step = BurnTable(id="burn", description="Burn")
    (error,) = check_plan(with_step(PLAN, 4, step))
    assert str(error).startswith("sample-bigint: (rollout.E001) ")


@pytest.mark.parametrize(
    ("phase", "step"),
    [
        (3, RequireValues(id="s", description="", table=TABLE, columns=("nowhere",))),
        (4, CreateIndex(id="s", description="", table=TABLE, name="i", columns=("nowhere",))),
        (4, DropIndex(id="s", description="", table=TABLE, name="i", columns=("nowhere",))),
    ],
    ids=["required", "indexed", "no longer indexed"],
)
def test_a_step_that_needs_an_unknown_column_is_e015(phase: int, step: Step) -> None:
    assert problems(with_step(PLAN, phase, step)) == [
        (
            "rollout.E015",
            f"Step 's' uses {TABLE.label}.nowhere, which does not exist in phase {phase}.",
        )
    ]


def test_a_required_lookup_without_a_row_for_blanks_is_e008() -> None:
    lookup = replace(next(t for t in PLAN.translations if isinstance(t, Lookup)), blank=None)
    plan = replace(PLAN, translations=(lookup,))
    assert "rollout.E008" in {id for id, _message in problems(plan)}


def of_legacy(column: Column, **more: Any) -> set[str | None]:
    """The ids of what is wrong with the shipped plan, were its legacy column such a one."""
    lookup = next(t for t in PLAN.translations if isinstance(t, Lookup))
    table = replace(TABLE, columns={**TABLE.columns, lookup.legacy: column})
    plan = replace(PLAN, tables=(table,), translations=(replace(lookup, table=table, **more),))
    return {id for id, _message in problems(plan)}


@pytest.mark.parametrize("type_", ["character(8)", "integer", "text[]", "jsonb"])
def test_a_lookup_of_what_is_no_text_is_e009(type_: str) -> None:
    assert "rollout.E009" in of_legacy(Column(type_))


@pytest.mark.parametrize("type_", ["citext", "app.kind", "date_kind", "character varying"])
def test_a_lookup_of_a_type_of_the_databases_own_is_for_the_preflight(type_: str) -> None:
    assert "rollout.E009" not in of_legacy(Column(type_))


def test_a_row_for_blanks_that_the_legacy_column_cannot_take_is_e016() -> None:
    short = Column("character varying(10)")
    assert "rollout.E016" in of_legacy(short)
    assert "rollout.E016" not in of_legacy(short, blank="Unknown")


def test_a_legacy_column_may_be_not_null() -> None:
    assert "rollout.E009" not in of_legacy(Column("text", null=False))


def test_a_required_lookup_that_leaves_unknown_texts_without_a_value_is_e020() -> None:
    lookup = next(t for t in PLAN.translations if isinstance(t, Lookup) and t.required)
    plan = replace(PLAN, translations=(replace(lookup, unknown="null"),))
    assert "rollout.E020" in {id for id, _message in problems(plan)}


@pytest.mark.parametrize(
    ("function", "undo", "wrong"),
    [
        ("nowhere.task", "", "nowhere.task"),
        (
            "tests.engine.test_task_batches.mark",
            "tests.engine.test_task_batches.gone",
            "tests.engine.test_task_batches.gone",
        ),
    ],
)
def test_a_task_whose_function_cannot_be_imported_is_e010(
    function: str, undo: str, wrong: str
) -> None:
    step = RunTask(
        id="t", description="", table=TABLE, function=function, where="{note} = 'x'", undo=undo
    )
    ((check, message),) = problems(with_step(PLAN, 2, step))
    assert check == "rollout.E010"
    assert f"The function '{wrong}' of step 't' cannot be imported" in message


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("{note = 'x'", "cannot be read: expected '}' before end of string"),
        ("{note} = 'x'}", "cannot be read: Single '}' encountered in format string"),
        ("{} = 'x'", "has braces without a column's name"),
        ("{note:norm} = 'x'", "names 'note:norm', which is neither a column nor a column:normal"),
        ("{note!r} = 'x'", "names 'note!r', which is neither a column nor a column:normal"),
        ("""{note} <> '{"a": 1}'""", "names '\"a\": 1', which is neither a column nor"),
    ],
)
def test_an_expression_of_a_step_that_cannot_be_read_is_e073_and_nothing_else(
    expression: str, reason: str
) -> None:
    whole = "{note} IS NULL"
    task = RunTask(
        id="t",
        description="",
        table=TABLE,
        function="tests.engine.test_tasks.mark",
        where=whole,
        undo="tests.engine.test_tasks.mark",
        undo_where=whole,
    )
    check = AddCheck(id="t", description="", table=TABLE, name="k", condition=expression)
    for phase, step, parameter in (
        (2, replace(task, where=expression), "where"),
        (2, replace(task, undo_where=expression), "undo_where"),
        (3, check, "condition"),
    ):
        ((id_, message),) = problems(with_step(PLAN, phase, step))
        assert id_ == "rollout.E073"
        assert f"In step 't' of phase {phase}, {parameter}= {reason}" in message


def test_a_task_over_a_column_that_is_not_there_is_e015() -> None:
    step = RunTask(
        id="t",
        description="",
        table=TABLE,
        function="tests.engine.test_task_batches.mark",
        where="{nowhere} = 'x'",
        undo="",
    )
    ((check, _),) = problems(with_step(PLAN, 2, step))
    assert check == "rollout.E015"
