"""The shell's verb for values that do not convert, from the first list to phase 3's gate."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import rollouts
from tests.support.offers import PLAN, offers

if TYPE_CHECKING:
    from rollout.models import Rollout
    from tests.support.rollouts import Cli
    from tests.support.servers import Database


@pytest.fixture
def rollout(committed_db: Database, own_plans: None) -> Rollout:
    return offers()


def test_values_are_listed_decided_and_followed_by_their_rows_before_phase_3_may_start(
    cli: Cli, rollout: Rollout, tmp_path: Path
) -> None:
    from rollout import gates, runner
    from rollout.engine import quarantine
    from rollout.gates import Evidence
    from rollout.models import BackfillJob, LogEntry, MappingChange, RunState

    def refused() -> tuple[int, int]:
        job = BackfillJob.objects.get(kind="fill")
        with rollouts.target() as connection:
            return quarantine.count(connection, job.pk), job.quarantined

    def gate() -> tuple[str, str | None]:
        gates.invalidate()
        statuses = gates.check_gates(Evidence(rollout, 3))
        return next((s.status, s.action) for s in statuses if s.name == "values decided")

    assert gate() == ("pending", "start_phase")
    rollouts.carry_out(rollout, 0, 1)
    run = rollouts.start(rollout, 2)
    rollouts.work_off(run, RunState.FAILED)
    what = f"Decide about the values of these rows (manage.py rollout unconvertible {PLAN})"
    assert run.advice.startswith(f"{what}, then retry; or roll the phase back. Runbook: ")
    assert rollouts.ask("SELECT count(*) FROM offer WHERE remark IS NULL") == 0
    assert gate() == ("pending", "decide_values")
    code, out, _ = cli("unconvertible", PLAN, "--column", "offer.price_cents", "--json")
    assert code == 1
    listed = [(v["legacy"], v["rows"], v["examples"], v["decided"]) for v in json.loads(out)]
    assert listed == [(["free"], 2, ["7", "8"], None), (["=on <b>request</b>"], 1, ["9"], None)]
    code, out, _ = cli("unconvertible", PLAN)
    assert (code, "offer.price_cents: 2 values do not convert, 2 undecided" in out) == (1, True)

    column = ("unconvertible", PLAN, "--column", "offer.price_cents")
    for wrong, message in (
        (("unconvertible", PLAN, "--set", "free", "--to", "0"), "Name one column"),
        ((*column, "--set", "free"), "--set and --to go together"),
        ((*column, "--set", "free", "--to", "much"), "price_cents cannot hold this value"),
        ((*column, "--set", "5", "--to", "0"), "No row has a value of this text"),
        ((*column, "--apply", str(tmp_path / "none.csv")), "Nothing was changed"),
        (("unconvertible", PLAN, "--column", "offer.none"), "converts nothing to offer.none"),
    ):
        code, _, error = cli(*wrong)
        assert code in (1, 2), wrong
        assert message in error
    assert cli(*column, "--set", "free", "--to", "0")[0] == 1
    code, out, _ = cli(*column, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["legacy"], row["becomes_price_cents"]) for row in rows] == [
        ("free", "0"),
        ("'=on <b>request</b>", ""),
    ]
    edited = tmp_path / "edited.csv"
    edited.write_text(f"key;becomes_price_cents\n{rows[1]['key']};(empty)\nnonsense;1\n")
    code, _, error = cli(*column, "--apply", str(edited))
    assert (code, "Line 3: No value has this key." in error) == (2, True)
    edited.write_text(f"key;becomes_price_cents\n{rows[1]['key']};(empty)\n")
    code, out, _ = cli(*column, "--apply", str(edited))
    assert (code, "2 values do not convert, 0 undecided" in out) == (0, True)
    assert gate()[0] == "pass"

    # Rows follow a decision by the repair that follows a mapping review, too.
    change = MappingChange.objects.order_by("pk")[0]
    assert (change.changes[0]["legacy"], change.changes[0]["after"]) == ("free", "0")
    assert refused() == (3, 3)
    updated = BackfillJob.objects.get(kind="fill").updated
    rollouts.work_off(runner.correct(change, actor=rollouts.ADA))
    # What is right by now is refused no more.
    assert refused() == (0, 0)
    assert BackfillJob.objects.get(kind="fill").updated == updated, "the repair wrote them"
    values = "SELECT array_agg(price_cents ORDER BY id) FROM offer WHERE id IN (7, 9)"
    assert rollouts.ask(values) == [0, None]
    runner.retry(rollout, actor=rollouts.ADA)
    rollouts.work_off(run)
    messages = LogEntry.objects.filter(event="values decided").values_list("message", flat=True)
    assert messages[0].startswith("Decided about 1 value of offer.price without a conversion to")
