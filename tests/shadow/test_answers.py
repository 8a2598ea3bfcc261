"""Where two answers differ."""

from hypothesis import given
from hypothesis import strategies as st

from rollout.shadow.answers import differences

answers = st.dictionaries(
    st.integers(0, 9), st.fixed_dictionaries({"type": st.sampled_from(["House", "Loft", None])})
)


@given(answers)
def test_an_answer_does_not_differ_from_itself(answer: dict[int, dict[str, str]]) -> None:
    assert differences(answer, answer) == []


@given(answers, answers)
def test_no_difference_means_the_same_rows_in_the_same_order(
    old: dict[int, dict[str, str]], new: dict[int, dict[str, str]]
) -> None:
    assert (not differences(old, new)) == (list(old.items()) == list(new.items()))


@given(answers, answers)
def test_differences_are_symmetric(
    old: dict[int, dict[str, str]], new: dict[int, dict[str, str]]
) -> None:
    there = {(d.key, d.name, d.old, d.new) for d in differences(old, new)}
    back = {(d.key, d.name, d.new, d.old) for d in differences(new, old)}
    assert there == back


def test_each_kind_of_difference_names_its_row() -> None:
    old = {1: {"type": "House"}, 2: {"type": "Loft"}}
    shown, gone, came = differences(old, {1: {"type": "Villa"}, (3, "b"): {"type": "Loft"}})
    assert (shown.key, shown.name, shown.old, shown.new) == (("1",), "type", "House", "Villa")
    assert (gone.key, gone.name, gone.old, gone.new) == (("2",), "", "row 2 of the answer", None)
    assert (came.key, came.new) == (("3", "b"), "row 2 of the answer")
    turned = differences(old, {2: {"type": "Loft"}, 1: {"type": "House"}})
    assert [(d.key, d.old, d.new) for d in turned] == [
        (("1",), "row 1 of the answer", "row 2 of the answer"),
        (("2",), "row 2 of the answer", "row 1 of the answer"),
    ]
