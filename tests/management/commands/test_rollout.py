"""`manage.py rollout`: every verb, its JSON, its exit status and what it says."""

import json
import sys

import pytest

from config.home import ROOT
from rollout.models import Direction, Heartbeat, LogEntry, PhaseRun, Rollout, RunState
from tests.support import rollouts
from tests.support.processes import completed
from tests.support.rollouts import PLAN, Cli
from tests.support.servers import Database


def test_list_names_each_plan_and_environment(cli: Cli) -> None:
    assert cli("list") == (0, f"{PLAN}  production  not started\n", "")
    code, out, _ = cli("list", "--json")
    assert code == 0
    (listed,) = json.loads(out)
    assert (listed["plan"], listed["environment"], listed["phase"]) == (PLAN, "production", None)


def test_list_says_of_a_rollout_that_went_all_the_way_back_that_it_is_rolled_back(
    cli: Cli,
) -> None:
    rollout, _ = Rollout.objects.get_or_create(plan=PLAN, environment="production")
    for direction in (Direction.FORWARD, Direction.BACKWARD):
        PhaseRun.objects.create(rollout=rollout, phase=0, direction=direction, state=RunState.DONE)
    assert cli("list")[1] == f"{PLAN}  production  rolled back\n"


def test_show_as_json_has_exactly_the_agreed_shape(cli: Cli) -> None:
    code, out, err = cli("show", PLAN, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "plan": PLAN,
        "environment": "production",
        "phase": None,
        "phases": [
            {
                "number": number,
                "name": name,
                "state": "pending",
                "destructive": number == 4,
                "restrictive": number in (3, 4),
                "gates": [],
            }
            for number, name in enumerate(("prepare", "expand", "backfill", "enforce", "contract"))
        ],
        "read_mode": "legacy",
        "write_mode": "legacy",
    }


def test_show_as_json_tells_gates_and_modes_as_they_are(cli: Cli, filled: Rollout) -> None:
    _, out, _ = cli("show", PLAN, "--json")
    status = json.loads(out)
    assert (status["phase"], status["read_mode"], status["write_mode"]) == (2, "legacy", "both")
    assert [phase["state"] for phase in status["phases"]] == ["done"] * 3 + ["pending"] * 2
    gates = status["phases"][3]["gates"]
    assert {gate["name"]: gate["action"] for gate in gates if gate["status"] != "pass"} == {
        "snapshot verified": "take_snapshot",
        "mapping reviewed": "review_mapping",
        "approved": "request_approval",
    }
    assert {gate["name"]: gate["status"] for gate in gates} == {
        "earlier phase done": "pass",
        "no rule holds": "pass",
        "backfill complete": "pass",
        "audit clean": "pass",
        "snapshot verified": "pending",
        "flow probes passed": "pass",
        "no drift": "pass",
        "mapping reviewed": "pending",
        "approved": "pending",
    }


def test_show_for_people_says_what_waits_and_that_no_worker_runs(
    cli: Cli, prepared: Rollout
) -> None:
    # Where phase 0 took long, its worker gave a sign of life.
    Heartbeat.objects.all().delete()
    code, out, _ = cli("show", PLAN)
    assert code == 0
    assert "0 prepare   done" in out
    assert "pass    Earlier phase done: Phase 0 finished at" in out
    assert "manage.py qcluster" in out


def test_show_tells_an_error_and_what_to_do(cli: Cli) -> None:
    rollouts.execute("ALTER TABLE properties DROP price")
    cli("start", PLAN, "0")
    rollouts.work()
    _, out, _ = cli("show", PLAN)
    assert "properties.price: expected numeric(12,2), found no column" in out
    assert "then retry" in out


def test_sql_prints_each_step_both_ways(cli: Cli) -> None:
    code, out, _ = cli("sql", PLAN, "1")
    assert code == 0
    assert "-- create-types\n\\echo 'Create lookup table: property_types'" in out
    assert "ADD COLUMN" in out
    code, out, _ = cli("sql", PLAN, "1", "--rollback")
    assert code == 0
    assert out.index("-- add-image-columns") < out.index("-- create-types")
    assert "DROP COLUMN" in out
    assert "ADD COLUMN" not in out


@pytest.mark.parametrize("verb", ["start", "rollback", "sql"])
@pytest.mark.parametrize("phase", ["5", "99", "-1"])
def test_a_phase_that_does_not_exist_is_wrong_use(cli: Cli, verb: str, phase: str) -> None:
    code, out, err = cli(verb, PLAN, phase)
    assert (code, out) == (2, "")
    assert err == f"There is no phase {phase}: phases are 0 to 4.\n"


ALL_WITH_A_PLAN = [
    ("show",),
    ("sql", "0"),
    ("start", "0"),
    ("rollback", "0"),
    ("pause",),
    ("resume",),
    ("cancel",),
    ("retry",),
    ("audit",),
    ("mapping",),
    ("introspect",),
    ("ask-approval", "3"),
    ("schedule", "0", "2099-01-01T00:00"),
    ("unschedule",),
    ("checklist",),
    ("tick", "rollback-scripts"),
    ("probe",),
]


@pytest.mark.parametrize(("verb", "more"), [(v, m) for v, *m in ALL_WITH_A_PLAN])
def test_an_unknown_plan_or_environment_is_wrong_use(cli: Cli, verb: str, more: list[str]) -> None:
    assert cli(verb, "nonsense", *more) == (
        2,
        "",
        f"There is no plan 'nonsense'. Known plans: {PLAN}.\n",
    )
    assert cli(verb, PLAN, *more, "--env", "moon") == (
        2,
        "",
        "Unknown environment 'moon'. Available: production.\n",
    )


@pytest.mark.parametrize(
    "arguments", [(), ("fly",), ("start", PLAN), ("start", PLAN, "two"), ("show", PLAN, "--yaml")]
)
def test_unreadable_arguments_are_wrong_use_with_a_hint(
    cli: Cli, arguments: tuple[str, ...]
) -> None:
    code, _, err = cli(*arguments)
    assert code == 2
    assert "usage:" in err


def test_verify_log_tells_the_head_of_a_chain_that_holds(cli: Cli) -> None:
    cli("start", PLAN, "0")
    head = LogEntry.objects.get().hash
    assert cli("verify-log") == (0, f"Hash chain OK. Entries: 1. Head: {head}\n", "")


def test_verify_log_names_the_first_broken_entry_and_answers_no(cli: Cli) -> None:
    for verb in ("start", "cancel", "retry", "cancel"):
        cli(verb, PLAN, *(["0"] if verb == "start" else []))
    second = LogEntry.objects.order_by("pk")[1]
    rollouts.execute("ALTER TABLE rollout_logentry DISABLE TRIGGER USER")
    LogEntry.objects.filter(pk__gte=second.pk).update(actor="eve")
    code, out, _ = cli("verify-log")
    assert code == 1
    assert out.startswith(f"Hash chain broken at entry {second.pk} (")
    assert out.endswith(
        "cancel asked for: Requested cancellation of phase 0.): its content was changed.\n"
    )


def test_a_database_that_is_down_is_one_line_and_an_error(committed_db: Database) -> None:
    done = completed(
        [sys.executable, ROOT / "manage.py", "rollout", "show", PLAN],
        env=committed_db.env(DATABASE_URL="postgresql:///rollout?host=/nonexistent"),
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "/nonexistent" in done.stderr
