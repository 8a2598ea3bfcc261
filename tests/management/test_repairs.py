"""The shell's verb that repairs what an audit found."""

import json

from rollout.models import AuditReport, AuditStatus, Repair, Rollout
from tests.support import rollouts
from tests.support.damages import damage
from tests.support.rollouts import PLAN, Cli, work

WRONG = "property_type_id = (SELECT min(id) FROM property_types WHERE id <> property_type_id)"


def test_a_repair_is_previewed_then_started_and_the_audit_after_it_is_clean(
    cli: Cli, filled: Rollout, a_worker: None
) -> None:
    damage(WRONG, rows=3)
    assert cli("audit", PLAN)[0] == 1
    code, out, _ = cli("repair", PLAN, "--dry-run", "--json")
    assert (code, json.loads(out)["rows"]) == (0, 3)
    code, out, _ = cli("repair", PLAN, "--dry-run")
    assert code == 0
    assert out.startswith("It would write 3 rows.\n")
    assert not Repair.objects.exists()

    code, out, _ = cli("repair", PLAN, "--wait", "--json")
    assert (code, json.loads(out)["direction"], json.loads(out)["state"]) == (0, "repair", "done")
    work()
    newest = AuditReport.objects.latest("pk")
    assert (newest.status, newest.mismatched) == (AuditStatus.CLEAN, 0)
    code, _, error = cli("repair", PLAN)
    assert code == 1
    assert error, "there is nothing left to repair"


def test_a_repair_of_one_column_leaves_the_rows_of_the_other(
    cli: Cli, filled: Rollout, a_worker: None
) -> None:
    damage(WRONG, rows=2)
    damage("property_status_id = NULL", rows=3)
    assert cli("audit", PLAN)[0] == 1
    chosen = ("--table", "properties", "--column", "property_type_id")
    code, out, _ = cli("repair", PLAN, *chosen, "--dry-run", "--json")
    assert (code, json.loads(out)["rows"]) == (0, 2)
    assert cli("repair", PLAN, *chosen, "--wait")[0] == 0
    assert rollouts.ask("SELECT count(*) FROM properties WHERE property_status_id IS NULL") == 3


def test_options_that_cannot_be_meant_start_nothing_and_say_what_to_do(
    cli: Cli, filled: Rollout
) -> None:
    code, _, error = cli("repair", PLAN, "--column", "property_type_id")
    assert (code, "require --table" in error) == (2, True)
    assert cli("audit", PLAN)[0] == 0
    for wrong in (
        ("--table", "nonsense"),
        ("--table", "properties", "--column", "nonsense"),
        ("--table", "properties", "--category", "nonsense"),
    ):
        code, _, error = cli("repair", PLAN, *wrong)
        assert code in (1, 2), wrong
        assert error, wrong
    AuditReport.objects.all().delete()
    code, _, error = cli("repair", PLAN)
    assert (code, f"rollout audit {PLAN}" in error) == (2, True)
    code, _, error = cli("repair", PLAN, "--audit", "99999")
    assert (code, "No finished audit 99999" in error) == (2, True)
    assert not Repair.objects.exists()
