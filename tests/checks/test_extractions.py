"""An Extract whose rows could not be told apart, or not be undone, is refused at once."""

from dataclasses import replace
from typing import Any

import pytest

from rollout import plan as r
from rollout.checks.plans import check_plan
from tests.schemas import plan_of, table

HOME = table(
    "home", agent="text", phone="text", email="text", doc="json", made_at="date", note="text"
)
AGENT = r.Extract(
    table=HOME,
    legacy=("agent", "phone", "email"),
    into="agents",
    column="agent_id",
    key=("email",),
    columns={"agent": "name"},
)


def refusals(*translations: Any, **plan: Any) -> list[str]:
    messages = []
    for error in check_plan(replace(plan_of(*translations), **plan)):
        assert error.hint
        messages.append(f"{error.id}: {error.msg}")
    return messages


def test_a_whole_extraction_is_accepted() -> None:
    assert refusals(AGENT) == []
    assert refusals(replace(AGENT, conflicts="newest", newest="made_at")) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"legacy": (), "key": ()}, "at least one legacy column"),
        ({"key": ()}, "key is empty"),
        ({"key": ("id", "email")}, "key names 'id', which is not in legacy"),
        ({"key": ("id",), "conflicts": "each"}, "a row of its own has no conflicts"),
        ({"key": ("id",), "id_type": "integer"}, "its id the type of the table's key"),
        ({"legacy": ("agent", "email", "email")}, "legacy names 'email' twice"),
        ({"legacy": ("id", "email")}, "'id' is part of the primary key"),
        ({"legacy": ("email", "doc"), "columns": {}}, "'doc' is json"),
        ({"columns": {"note": "name"}}, "columns names 'note'"),
        ({"columns": {"agent": "phone"}}, "several columns 'phone'"),
        ({"columns": {"agent": "id"}}, "several columns 'id'"),
        ({"conflicts": "decide", "key": AGENT.legacy}, "needs a legacy column besides"),
        ({"conflicts": "oldest"}, "conflicts is 'oldest'"),
        ({"conflicts": "newest"}, "belong together"),
        ({"newest": "made_at"}, "belong together"),
        ({"conflicts": "newest", "newest": "made"}, "newest is 'made', which does not exist"),
        ({"into": "home"}, "home is one of the plan's tables"),
    ],
)
def test_an_extraction_that_leaves_something_open_is_e023(
    change: dict[str, Any], problem: str
) -> None:
    messages = refusals(replace(AGENT, **change))
    assert any(m.startswith("rollout.E023") and problem in m for m in messages), messages


def test_a_split_needs_a_key_of_one_column_that_no_other_translation_writes() -> None:
    split = replace(AGENT, key=("id",))
    assert refusals(split) == []
    widened = r.WidenKey(table=HOME, column="id").translations
    assert any("legacy column 'id' too" in m for m in refusals(split, *widened))
    keyed = table("home", key=("a", "b"), **{c: HOME.columns[c] for c in AGENT.legacy})
    messages = refusals(replace(AGENT, table=keyed, key=("a", "b")))
    assert any("the table's key has several columns" in m for m in messages)


def test_a_column_that_is_not_declared_is_refused() -> None:
    assert refusals(replace(AGENT, legacy=("agnt", "email"), columns={}))


def test_a_legacy_column_of_two_translations_is_e023() -> None:
    phone = r.Lookup(
        table=HOME, legacy="phone", column="phone_id", lookup_table="phones", blank="None"
    )
    assert any("legacy column 'phone' too" in m for m in refusals(AGENT, phone))
    other = replace(AGENT, column="other_id", legacy=("note",), key=("note",), columns={})
    assert any("makes rows of agents too" in m for m in refusals(AGENT, other))


def test_a_table_that_no_step_creates_is_e023() -> None:
    plan = plan_of(AGENT)
    _, expand, *_ = plan.phases
    without = replace(expand, steps=expand.steps[1:])
    phases = (plan.phases[0], without, *plan.phases[2:])
    assert any("no step creates the table agents" in m for m in refusals(AGENT, phases=phases))


def test_a_name_that_no_expression_can_name_is_a_refusal_of_its_own() -> None:
    for name in ("e{mail", "e:mail", "e!s"):
        columns: dict[str, Any] = dict.fromkeys(("agent", "e", name), "text")
        odd = table("home", **columns)
        extract = replace(AGENT, table=odd, legacy=("agent", name), key=("agent",))
        (refusal,) = refusals(extract)
        assert refusal.startswith("rollout.E073: The translation of home.agent_id ")
        columns[name] = r.Column("integer")
        keyed = table("home", key=(name,), **columns)
        (refusal,) = refusals(*r.WidenKey(table=keyed, column=name).translations)
        assert refusal.startswith("rollout.E073: The translation of home.")


def test_an_open_brace_is_a_refusal_of_its_own() -> None:
    derived = r.Derived(table=HOME, column="b", type="text", expression="{note", back={})
    (refusal,) = refusals(derived)
    assert refusal == (
        "rollout.E073: The translation of home.b has an expression that cannot be read: expected "
        "'}' before end of string."
    )
