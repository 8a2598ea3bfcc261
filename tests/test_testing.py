"""An application's tests choose the modes in which their code runs."""

from django.test import SimpleTestCase, TestCase

from rollout.modes import Modes, current_modes, modes_now
from rollout.testing import override_modes

PLAN = "a plan"
BOTH = Modes("legacy", "both", frozenset({"counts"}))


def current() -> Modes:
    with current_modes(PLAN) as modes:
        return modes


def test_modes_hold_in_a_block_and_are_those_of_the_database_again_after_it(db: None) -> None:
    with override_modes(PLAN):
        assert current() == modes_now(PLAN) == Modes("new", "new")
        with override_modes(PLAN, read="legacy", write="both", features=["counts"]):
            assert current() == modes_now(PLAN) == BOTH
        assert current() == Modes("new", "new")
    assert current() == modes_now(PLAN) == Modes()


@override_modes(PLAN, read="legacy", write="both", features=["counts"])
def test_modes_hold_in_a_test(db: None) -> None:
    assert current() == BOTH


@override_modes(PLAN, read="legacy", write="both", features=["counts"])
class ModesOfACase(TestCase):
    def test_modes_hold_in_a_class_of_tests(self) -> None:
        assert issubclass(type(self), SimpleTestCase)
        assert current() == BOTH
