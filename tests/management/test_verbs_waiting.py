"""The verbs that start work: each waits on request, answers in JSON, and logs nothing between."""

import argparse
import json
import logging
import sys

import pytest

from rollout.management.commands.rollout import Command
from rollout.models import RollbackChain, Rollout
from rollout.runner import rollback_chains
from tests.support import rollouts
from tests.support.rollouts import PLAN, Cli

OF_WORK = {
    *("start", "rollback", "pause", "resume", "cancel", "retry"),
    *("audit", "repair", "snapshot", "restore", "stage", "rehearse"),
}


def test_every_verb_that_starts_work_can_wait_and_answer_in_json() -> None:
    parser = Command().create_parser("manage.py", "rollout")
    (choices,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    options = {name: verb._option_string_actions.keys() for name, verb in choices.choices.items()}
    assert {name for name, known in options.items() if "--wait" in known} == OF_WORK
    assert {name for name, known in options.items() if "--json" in known} >= OF_WORK


def test_a_phase_that_is_waited_for_answers_in_json_with_its_end(cli: Cli, a_worker: None) -> None:
    code, out, _ = cli("start", PLAN, "0", "--wait", "--json")
    answer = json.loads(out)
    assert (code, answer["state"], answer["phase"], answer["direction"]) == (
        0,
        "done",
        0,
        "forward",
    )
    code, out, _ = cli("rollback", PLAN, "0", "--wait", "--json")
    assert (code, json.loads(out)["direction"], json.loads(out)["state"]) == (0, "backward", "done")


def test_a_run_that_is_cancelled_is_good_and_its_retry_waits_for_the_end(
    cli: Cli, a_worker: None
) -> None:
    code, out, _ = cli("start", PLAN, "0", "--json")
    assert (code, json.loads(out)["state"]) == (0, "queued")
    code, out, _ = cli("cancel", PLAN, "--wait", "--json")
    assert (code, json.loads(out)["state"]) == (0, "cancelled")
    code, out, _ = cli("retry", PLAN, "--wait")
    assert (code, out) == (0, "Phase 0 forward: done.\n")


def test_a_retry_of_one_rollback_is_good_although_the_chain_around_it_had_stopped(
    cli: Cli, a_worker: None, filled: Rollout
) -> None:
    cli("rollback", PLAN, "--to", "-1")
    cli("cancel", PLAN)
    rollback_chains.continue_chain(RollbackChain.objects.get(), source="watchdog")
    code, out, _ = cli("retry", PLAN, "--wait")
    assert (code, out) == (0, "Phase 2 backward: done.\n")


def test_a_run_that_is_resumed_and_fails_answers_in_json_with_what_to_do(
    cli: Cli, a_worker: None
) -> None:
    cli("start", PLAN, "0")
    code, out, _ = cli("pause", PLAN, "--wait", "--json")
    assert (code, json.loads(out)["state"]) == (0, "paused")
    rollouts.execute("ALTER TABLE properties DROP price")
    code, out, _ = cli("resume", PLAN, "--wait", "--json")
    answer = json.loads(out)
    assert (code, answer["state"]) == (1, "failed")
    assert "The live schema differs" in answer["error"]
    assert "then retry" in answer["advice"]


def test_a_worker_makes_the_audit_that_the_shell_waits_for(
    cli: Cli, a_worker: None, filled: Rollout
) -> None:
    code, out, _ = cli("audit", PLAN, "--wait", "--json")
    assert (code, json.loads(out)["status"]) == (0, "clean")


@pytest.mark.usefixtures("clean_storage")
def test_a_worker_makes_the_staging_database_that_the_shell_waits_for(
    cli: Cli, a_worker: None
) -> None:
    assert cli("snapshot", PLAN)[0] == 0
    try:
        code, out, _ = cli("stage", PLAN, "--wait", "--json")
        answer = json.loads(out)
        assert (code, answer["state"], answer["environment"]) == (0, "done", "staging")
        code, out, _ = cli("restore", PLAN, "1000", "--wait", "--json")
        assert (code, out) == (1, "")
    finally:
        assert cli("unstage", PLAN, "--env", "staging")[0] == 0


def test_log_lines_stand_between_a_verbs_answers_only_on_request(
    cli: Cli, caplog: pytest.LogCaptureFixture
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    logging.root.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO):
            cli("start", PLAN, "0")
            assert cli("pause", PLAN)[2] == ""
            assert "Resumed" in cli("resume", PLAN, "--log")[2]
    finally:
        logging.root.removeHandler(handler)
    assert handler.level == logging.NOTSET
