"""The verdict of a self-test, in any phase."""

from collections.abc import Callable

import pytest

from rollout.engine.audit import CATEGORIES
from rollout.engine.audit.lookup_pairs import LookupPairs
from rollout.engine.selftest import SelftestUndecided
from rollout.engine.target import Connection, Target
from tests.engine.actions import do_phase, do_until
from tests.engine.samples import BIGINT
from tests.engine.selftests import OF_CONVERSIONS, legacy, scratch_databases, tried

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("phases", [0, 2, 4], ids=lambda n: f"{n} phases")
def test_a_selftest_runs_in_any_phase(phases: int, target: Target, connection: Connection) -> None:
    legacy(connection, rows=200)
    for number in range(phases + 1 if phases else 0):
        do_phase(target, connection, BIGINT.plan, number)
    result = tried(target)
    assert result.passed
    assert result.rows == {"things": 200}
    assert len(result.full) == len(CATEGORIES) - len({"quarantined", *OF_CONVERSIONS})


def test_an_audit_that_overlooks_a_category_fails_it(
    target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    legacy(connection)
    do_until(target, connection, BIGINT.plan, "backfill")
    right: Callable[..., str] = LookupPairs.classify

    def careless(rules: LookupPairs, text: str | None, new: int | None) -> str:
        category = right(rules, text, new)
        return "ok" if category == "wrong" else category

    monkeypatch.setattr(LookupPairs, "classify", careless)
    result = tried(target)
    scores = {score.category: score for score in result.full}
    assert (scores["wrong"].planted, scores["wrong"].found) == (10, 0)
    assert not result.passed


def test_an_audit_that_cries_wolf_fails_it(
    target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    legacy(connection)
    do_until(target, connection, BIGINT.plan, "backfill")
    right: Callable[..., str] = LookupPairs.classify

    def nervous(rules: LookupPairs, text: str | None, new: int | None) -> str:
        category = right(rules, text, new)
        return "wrong" if text == "House" and category == "ok" else category

    monkeypatch.setattr(LookupPairs, "classify", nervous)
    result = tried(target)
    assert sum(score.false_alarms for score in result.full) > 0
    assert not result.passed


def test_an_empty_table_proves_nothing(target: Target, connection: Connection) -> None:
    BIGINT.create(connection)
    with pytest.raises(SelftestUndecided, match="nothing planted"):
        tried(target)
    assert scratch_databases(connection) == []
