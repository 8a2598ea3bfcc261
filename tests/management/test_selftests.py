"""`manage.py rollout audit-selftest`: what it prints, and its exit status."""

import json

import pytest

from rollout.engine.audit.lookup_pairs import LookupPairs
from rollout.models import Rollout
from tests.support.rollouts import PLAN, Cli


def test_a_selftest_finds_everything_that_it_plants(filled: Rollout, cli: Cli) -> None:
    code, out, err = cli("audit-selftest", PLAN, "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert (result["passed"], result["plan"], result["environment"]) == (True, PLAN, "production")
    assert (result["full"]["recall"], result["full"]["false_alarms"]) == (1.0, 0)
    assert {category["category"] for category in result["full"]["categories"]} >= {
        *("ok", "ok_normalized", "ok_mapped", "transient", "unmapped", "ambiguous", "inactive"),
        *("missing", "unexpected", "computed_differs", "wrong", "orphan"),
    }
    assert result["writes"] > 0
    assert result["sampled"]["planted_in_sample"] <= result["sampled"]["planted"]
    code, out, _ = cli("audit-selftest", PLAN, "--rows", "250", "--seed", "7")
    assert code == 0
    assert out.startswith("passed: a copy of 250 of properties")
    assert "full audit" in out
    assert "The sample covered " in out


def test_a_selftest_ends_with_one_when_an_audit_overlooks_something(
    properties: Rollout, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LookupPairs, "classify", lambda rules, legacy, new: "ok")
    code, out, _ = cli("audit-selftest", PLAN)
    assert code == 1
    assert out.startswith("FAILED")


def test_a_selftest_ends_with_two_when_there_is_nothing_to_plant_in(cli: Cli) -> None:
    code, out, err = cli("audit-selftest", PLAN)
    assert (code, out) == (2, "")
    assert "nothing planted" in err
