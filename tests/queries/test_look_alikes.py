"""Values that a reader cannot tell apart are grouped, each in one group, and lose no row."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.engine.mapping import Decision, Spelling, Value
from rollout.queries.look_alikes import groups_of, look_alikes, skeleton

# Letters that look alike, wide ones, composed and decomposed, white space and what cannot be seen.
LETTERS = "aаａhһｈbвuսeéе" + "e\u0301" + " \u00a0\t\u200b\u200d\ufe0f-1"
texts = st.text(st.sampled_from(LETTERS), min_size=1, max_size=4)


def value(text: str, rows: int = 1, *, name: str | None = None, reviewer: str = "") -> Value:
    spelling = Spelling(text, rows, "exact")
    return Value(text, [spelling], name=text if name is None else name, reviewer=reviewer)


values = st.builds(value, texts, st.integers(0, 50), reviewer=st.sampled_from(["", "ada"]))
several = st.lists(values, max_size=12, unique_by=lambda v: v.normal)


def together(given_values: list[Value]) -> set[frozenset[str]]:
    return {frozenset(v.normal for v in group) for group in groups_of(given_values)}


@given(several)
def test_each_visible_value_is_in_one_group_and_no_row_is_lost(given_values: list[Value]) -> None:
    grouped = list(chain.from_iterable(groups_of(given_values)))
    visible = [v for v in given_values if skeleton(v.normal)]
    assert sorted(v.normal for v in grouped) == sorted(v.normal for v in visible)
    assert sum(v.rows or 0 for v in grouped) == sum(v.rows or 0 for v in visible)


@given(several, st.randoms(use_true_random=False))
def test_the_order_of_values_makes_no_other_groups(
    given_values: list[Value], random: object
) -> None:
    shuffled = list(given_values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert together(shuffled) == together(given_values)
    assert [v.leading.normal for v in look_alikes(shuffled)] == [
        v.leading.normal for v in look_alikes(given_values)
    ]


@given(several)
def test_two_values_belong_together_whoever_else_is_there(given_values: list[Value]) -> None:
    groups = together(given_values)
    for first in given_values:
        for second in given_values:
            alone = together([first, second]) if first is not second else together([first])
            beside = any({first.normal, second.normal} <= group for group in groups)
            assert any({first.normal, second.normal} <= group for group in alone) == beside


@given(several)
def test_joining_leaves_one_lookup_row_to_a_group_but_for_what_people_decided(
    given_values: list[Value],
) -> None:
    for group in look_alikes(given_values):
        assert group.others
        assert not any(other.reviewer for other in group.others)
        assert set(group.decisions.values()) == {Decision(group.leading.name)}
        assert {skeleton(other.normal) for other in group.others} == {
            skeleton(group.leading.normal)
        }


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("town house", "townhouse"),
        ("loft", "lo\u200bft"),
        ("loft", "ｌｏｆｔ"),
        ("house", "һоusе"),
        ("house", "hoսse"),
        ("propriété", "proprie\u0301te\u0301"),
        ("\u0432\u0438\u043b\u043b\u0430", "\u0412\u0438\u043b\u043b\u0430"),
    ],
)
def test_texts_that_look_alike_have_one_skeleton(text: str, other: str) -> None:
    assert skeleton(text) == skeleton(other) != ""


@pytest.mark.parametrize(
    ("text", "other"), [("loft", "lofts"), ("propriété", "propriete"), ("h", "u"), ("1", "l")]
)
def test_texts_that_can_be_told_apart_have_two(text: str, other: str) -> None:
    assert skeleton(text) != skeleton(other)


def test_a_persons_decision_leads_before_the_number_of_rows() -> None:
    decided = value("townhouse", 1, name="Terraced house", reviewer="ada")
    (group,) = look_alikes([value("town house", 900), decided, value("villa", 3)])
    assert (group.leading, group.name, group.rows) == (decided, "Terraced house", 900)


def test_spellings_of_one_lookup_row_are_not_offered() -> None:
    assert not look_alikes([value("town house", name="House"), value("townhouse", name="House")])
    assert not look_alikes([value("\u200b"), value("\u200d")]), "nothing can be seen"
