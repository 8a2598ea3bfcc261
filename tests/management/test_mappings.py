"""The mapping review in a shell: how far it is, by a file, and the rest confirmed."""

import csv
import io
from pathlib import Path

from rollout import gates
from rollout.models import MappingChange, Rollout
from rollout.plan.gates import MappingReviewed
from tests.support.rollouts import PLAN, Cli


def test_the_shell_satisfies_the_gate_by_an_edited_file_and_by_confirming_the_rest(
    filled: Rollout, cli: Cli, tmp_path: Path
) -> None:
    code, out, _ = cli("mapping", PLAN)
    assert code == 1
    assert "properties.type: 0 of " in out
    assert "properties.status: 0 of " in out

    _, text, _ = cli("mapping", PLAN, "--lookup", "properties.type", "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    for row in rows:
        if row["legacy"].strip().lower() == "apt":
            row["lookup"] = "Apartment"
    edited = tmp_path / "types.csv"
    with edited.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    code, out, _ = cli("mapping", PLAN, "--lookup", "properties.type", "--apply", str(edited))
    assert code == 1
    assert "properties.type: 1 of " in out

    code, out, _ = cli("mapping", PLAN, "--confirm")
    assert code == 0, out
    status = gates.check_gate(MappingReviewed(), gates.Evidence(filled, 3))
    assert status.status == "pass"
    assert {change.reviewer for change in MappingChange.objects.all()} != {""}
    assert cli("mapping", PLAN, "--confirm")[0] == 0, "there is nothing left to confirm"


def test_one_run_takes_a_file_and_confirms_what_it_leaves_open(
    filled: Rollout, cli: Cli, tmp_path: Path
) -> None:
    edited = tmp_path / "types.csv"
    edited.write_text("legacy,lookup\nLoft,Attic\n")
    code, out, err = cli(
        *("mapping", PLAN, "--lookup", "properties.type"),
        *("--apply", str(edited), "--confirm"),
    )
    assert (code, err) == (0, ""), out
    assert MappingChange.objects.get().changes[0]["after"] == "Attic"


def test_an_invalid_file_is_refused_before_anything_changes(
    filled: Rollout, cli: Cli, tmp_path: Path
) -> None:
    assert cli("mapping", PLAN, "--csv")[2].startswith("Name one lookup: --lookup properties.type")
    assert "Its lookups: properties.type" in cli("mapping", PLAN, "--lookup", "x.y")[2]
    edited = tmp_path / "types.csv"
    edited.write_text("legacy,lookup\nnobody wrote this,House\n")
    apply = ("mapping", PLAN, "--lookup", "properties.type", "--apply")
    code, _, err = cli(*apply, str(edited))
    assert code == 2
    assert err.startswith("Nothing was changed. Line 2: No row has the value")
    assert "Nothing was changed." in cli(*apply, str(tmp_path / "nowhere.csv"))[2]
    assert not MappingChange.objects.exists()
