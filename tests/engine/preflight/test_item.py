"""What a preflight is about, and how its findings are put."""

import pytest

from rollout.engine.preflight.item import Item, Scope, size_text
from rollout.plan.actions import LockMode
from tests.engine.preflight.runs import PLAN


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 kB"), (4_096, "4 kB"), (2.5e6, "2.5 MB"), (7e9, "7.0 GB"), (1.25e15, "1,250.0 TB")],
)
def test_a_size_has_a_decimal_unit(size: float, text: str) -> None:
    assert size_text(size) == text


def test_a_scope_names_each_lock_that_can_block_others_once() -> None:
    locks = Scope(PLAN, 3, []).strong_locks
    assert len(set(locks)) == len(locks)
    assert {lock.mode for lock in locks} >= {LockMode.SHARE_ROW_EXCLUSIVE}
    weak = {LockMode.ACCESS_SHARE, LockMode.ROW_SHARE, LockMode.ROW_EXCLUSIVE}
    assert not weak & {lock.mode for lock in locks}


def test_a_finding_is_a_sentence_that_another_one_may_follow() -> None:
    assert Item("rights", "blocks", "No rights").sentence == "No rights."
    assert Item("rights", "blocks", "No rights.").sentence == "No rights."
