"""Whether a snapshot could be verified is tested before there is one."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from rollout import plan as r
from rollout import runner
from rollout.engine.preflight import Item, Preflight, Readiness
from rollout.engine.snapshot import trial
from rollout.models import Rollout
from rollout.queries.preflights import preflight_of, readiness_of
from tests.engine.snapshot.needs import NEEDS, UNRESTORABLE
from tests.schemas import PARCEL, STATUS, plan_of
from tests.support import rollouts
from tests.support.rollouts import known
from tests.support.servers import Database
from tests.support.threads import at_once


@pytest.fixture
def parcels(committed_db: Database) -> Iterator[Rollout]:
    """A rollout of parcels, beside the sample's, whose phase 3 asks for a snapshot."""
    made = plan_of(STATUS)
    gated = replace(made.phases[3], gates=(r.SnapshotVerified(),))
    plan = replace(made, phases=(*made.phases[:3], gated, made.phases[4]))
    rollouts.execute(PARCEL)
    with known(plan) as rollout:
        yield rollout


def of_trial(findings: Preflight | Readiness) -> list[Item]:
    return [item for item in findings.items if item.name == "trial of a snapshot"]


def scratch_databases() -> int:
    """Of this database: others' tests have theirs at the same time."""
    return int(
        rollouts.ask(
            "SELECT count(*) FROM pg_database WHERE starts_with(datname, 'rollout_scratch_' ||"
            " left(encode(sha256(current_database()::text::bytea), 'hex'), 8))"
        )
    )


def test_schemas_that_no_snapshot_restores_stop_phase_0_and_the_rest_is_taken(
    parcels: Rollout,
) -> None:
    rollouts.execute("".join([UNRESTORABLE, *NEEDS.values()]))
    (finding,) = of_trial(readiness_of(parcels))
    assert (finding.level, finding.phase) == ("blocks", 3)
    assert "The trigger public.parcel touch cannot be recreated from the dump" in finding.evidence
    assert finding.advice == "Drop it or define it differently, then take another snapshot."
    with pytest.raises(runner.Refused, match="“trial of a snapshot”: No snapshot of parcel can"):
        runner.start(parcels, 0, actor=rollouts.prepare(parcels, 0))

    rollouts.execute("DROP TRIGGER touch ON parcel")
    (finding,) = of_trial(preflight_of(parcels, 0))
    assert finding.level == "pass"
    assert of_trial(preflight_of(parcels, 1)) == []
    rollouts.snapshot_of(parcels)
    assert scratch_databases() == 0


def test_a_trial_that_cannot_be_made_here_keeps_nothing_from_starting(
    parcels: Rollout, settings: Any
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "PG_BIN": "/nowhere"}
    (finding,) = of_trial(preflight_of(parcels, 0))
    assert finding.level == "unknown"
    assert "pg_dump/pg_restore not found in /nowhere" in finding.evidence


def test_trials_at_the_same_moment_wait_for_each_other(
    parcels: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine with more to do a trial may take longer than somebody should wait for it.
    for limit in ("MAX_WAIT", "MAX_DURATION"):
        monkeypatch.setattr(trial, limit, timedelta(seconds=60))
    for findings in at_once(*[partial(preflight_of, parcels, 0)] * 2):
        (finding,) = of_trial(findings)
        assert finding.level == "pass", finding.evidence


def test_a_trial_beside_another_one_leaves_its_database_alone(
    parcels: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "MAX_WAIT", timedelta(milliseconds=100))
    lock = "SELECT pg_advisory_lock(hashtext('rollout trial of a snapshot'))"
    with rollouts.locked(lock):
        (finding,) = of_trial(preflight_of(parcels, 0))
    assert (finding.level, finding.evidence) == (
        "unknown",
        "Could not be tested: The console is testing this for another page or rollout of the same "
        "database.",
    )
