"""`manage.py rollout audit-selftest`: what it prints, and its exit status."""

import json

import pytest

from rollout.engine.audit.rules import LookupRules
from tests import rollouts
from tests.servers import Database
from tests.test_command import PLAN, Rollout, rollout

__all__ = ["rollout"]


@pytest.fixture
def listings(committed_db: Database) -> None:
    rollouts.load_listings(300)


def test_it_finds_everything_that_it_plants(rollout: Rollout, listings: None) -> None:
    rollouts.carry_out(rollouts.the_rollout(), 0, 1, 2)
    code, out, err = rollout("audit-selftest", PLAN, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["passed"], found["plan"], found["environment"]) == (True, PLAN, "production")
    assert (found["full"]["recall"], found["full"]["false_alarms"]) == (1.0, 0)
    assert {one["category"] for one in found["full"]["categories"]} >= {
        *("ok", "ok_normalized", "ok_mapped", "transient", "unmapped", "ambiguous", "inactive"),
        *("missing", "unexpected", "computed_differs", "wrong", "orphan"),
    }
    assert found["writes"] > 0
    assert found["sampled"]["planted_in_sample"] <= found["sampled"]["planted"]
    code, out, _ = rollout("audit-selftest", PLAN, "--rows", "250", "--seed", "7")
    assert code == 0
    assert out.startswith("passed: a copy of 250 of properties")
    assert "full audit" in out
    assert "The sample covered " in out


def test_it_ends_with_one_when_an_audit_overlooks_something(
    rollout: Rollout, listings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LookupRules, "classify", lambda rules, legacy, new: "ok")
    code, out, _ = rollout("audit-selftest", PLAN)
    assert code == 1
    assert out.startswith("FAILED")


def test_it_ends_with_two_when_there_is_nothing_to_plant_in(
    rollout: Rollout, committed_db: Database
) -> None:
    code, out, err = rollout("audit-selftest", PLAN)
    assert (code, out) == (2, "")
    assert "nothing was planted" in err
