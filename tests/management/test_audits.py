"""`manage.py rollout audit`: of a sample, of one table, as CSV, and into a pipe that is left."""

import csv
import io
import json
import subprocess
import sys
from functools import partial

import pytest

from config.home import ROOT
from rollout.models import Rollout
from tests.support import rollouts
from tests.support.rollouts import PLAN, Cli
from tests.support.servers import Database

ROWS = 300


@pytest.fixture
def audit(filled: Rollout, cli: Cli) -> Cli:
    """Exit status, output and errors of an audit, of listings whose currency is wrong in all."""
    rollouts.execute_past_triggers("UPDATE properties SET currency = 'EUR'")
    return partial(cli, "audit", PLAN)


def test_options_confine_an_audit_and_its_exit_status_is_the_answer(
    audit: Cli, committed_db: Database
) -> None:
    code, out, err = audit("--csv")
    assert (code, err) == (1, "")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert len(lines) == ROWS
    assert {(x["category"], x["expected"], x["actual"]) for x in lines} == {
        ("computed_differs", "USD", "EUR")
    }

    sampled = [audit("--sample", "20", "--seed", "7", "--csv") for _ in range(2)]
    assert sampled[0][0] == 1
    keys = [{x["key"] for x in csv.DictReader(io.StringIO(out))} for _, out, _ in sampled]
    assert (len(keys[0]), keys[0]) == (20, keys[1])
    code, out, _ = audit("--sample", "20", "--seed", "7", "--json")
    report = json.loads(out)
    assert (report["mode"], report["seed"], report["population"]) == ("sampled", 7, ROWS)
    assert (report["rows"], report["mismatched"]) == (20, 20)
    assert "Examined 20 of 300 rows" in audit("--sample", "20")[1]

    assert audit("--table", "property_images")[0] == 0
    for wrong in (["--table", "nothing"], ["--seed", "7"], ["--sample", "0"]):
        code, out, err = audit(*wrong)
        assert (code, out) == (2, "")
        assert err

    # A reader that has seen enough, as head has: no traceback, and the same answer.
    left = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "rollout", "audit", PLAN, "--csv"],
        env=committed_db.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert left.stdout is not None
    left.stdout.close()
    _, errors = left.communicate(timeout=60)
    assert (left.returncode, errors) == (1, b"")

    rollouts.execute('DROP TABLE rollout."property-classification_properties_type_mapping"')
    code, out, err = audit("--csv")
    assert (code, out.count("\n")) == (2, 1)
    assert "is not mapped yet" in err


def test_audit_as_json_has_exactly_the_agreed_shape(cli: Cli, filled: Rollout) -> None:
    code, out, err = cli("audit", PLAN, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    categories = report.pop("categories")
    assert len(report.pop("mapping")) == 12
    assert report.pop("mapping_values") > report.pop("mapping_reviewed") == 0
    assert report == {
        "plan": PLAN,
        "environment": "production",
        "mode": "full",
        "rows": 300,
        "matched": 300,
        "mismatched": 0,
        "status": "clean",
        "conflicting_writes": [],
    }
    assert sum(categories.values()) == 300


def test_mismatches_are_answered_with_no(cli: Cli, filled: Rollout) -> None:
    rollouts.execute_past_triggers("UPDATE properties SET currency = 'EUR'")
    code, out, _ = cli("audit", PLAN, "--json")
    assert code == 1
    report = json.loads(out)
    assert (report["status"], report["mismatched"], report["categories"]) == (
        "mismatched",
        300,
        {"computed_differs": 300},
    )
    code, out, _ = cli("audit", PLAN)
    assert code == 1
    assert "300 mismatched" in out
    code, _, err = cli("start", PLAN, "3")
    assert code == 1
    assert "found 300 mismatches" in err


def test_an_audit_that_could_not_compare_is_an_error(cli: Cli) -> None:
    code, out, _ = cli("audit", PLAN, "--json")
    assert code == 2
    assert json.loads(out)["status"] == "inconclusive"
    assert "Start phases 1 and 2 first." in cli("audit", PLAN)[1]
