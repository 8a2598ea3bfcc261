"""A worker's hold on a run: alive beside the work, and lost for good once another has it."""

from collections.abc import Iterator
from functools import partial

import psycopg
import pytest
from django.utils import timezone

from rollout import runner
from rollout.engine.control import Interrupted
from rollout.journal import heartbeats
from rollout.models import PhaseRun, Rollout, RunState
from rollout.worker import leases
from rollout.worker.leases import Lease
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.support.rollouts import ADA
from tests.support.threads import at_once


@pytest.fixture
def run(tiny: Rollout) -> PhaseRun:
    run = runner.start(tiny, 0, actor=ADA)
    assert leases.claim(run, run.token)
    PhaseRun.objects.update(state=RunState.RUNNING)
    return run


@pytest.fixture
def held_lease(run: PhaseRun, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lease]:
    monkeypatch.setattr(leases, "_EXTEND_EVERY", 0.02)
    with Lease(run, on_wait=lambda _: None) as lease:
        yield lease


def test_one_of_several_workers_with_one_token_claims(tiny: Rollout) -> None:
    run = runner.start(tiny, 0, actor=ADA)
    copies = [PhaseRun.objects.get(pk=run.pk) for _ in range(6)]
    claimed = at_once(*(partial(leases.claim, copy, 0) for copy in copies))
    assert sorted(claimed) == [False] * 5 + [True]
    assert PhaseRun.objects.get(pk=run.pk).token == 1


def test_work_that_was_taken_back_cannot_be_extended_by_its_former_worker(run: PhaseRun) -> None:
    former = run.token
    assert leases.extend(run, former)
    assert leases.take_back(run)
    assert not leases.extend(run, former)


def test_work_that_moved_on_meanwhile_is_not_taken_back(run: PhaseRun) -> None:
    stale = PhaseRun.objects.get(pk=run.pk)
    assert leases.claim(run, run.token)
    assert not leases.take_back(stale)


def test_a_lease_moves_on_and_its_worker_shows_that_it_lives(
    held_lease: Lease, run: PhaseRun
) -> None:
    PhaseRun.objects.update(lease_until=timezone.now())
    wait_until(lambda: PhaseRun.objects.filter(lease_until__gt=timezone.now()).exists())
    wait_until(lambda: heartbeats.liveness().worker_alive)
    held_lease.raise_if_stopped()


@pytest.mark.parametrize("state", [RunState.PAUSING, RunState.CANCELLING])
def test_work_that_is_asked_to_stop_is_told_at_its_next_check(
    held_lease: Lease, state: RunState
) -> None:
    PhaseRun.objects.update(state=state)
    wait_until(lambda: held_lease.asked_to is state)
    with pytest.raises(Interrupted, match=str(state)):
        held_lease.raise_if_stopped()


def test_work_that_is_another_s_by_now_is_told_at_its_next_check(held_lease: Lease) -> None:
    PhaseRun.objects.update(token=99)
    wait_until(lambda: held_lease.lost)
    with pytest.raises(Interrupted, match="Taken over by another worker"):
        held_lease.raise_if_stopped()


def test_the_statement_of_a_cancelled_run_is_cancelled_in_the_database(held_lease: Lease) -> None:
    with rollouts.target() as opened:
        held_lease.attach(opened)
        PhaseRun.objects.update(state=RunState.CANCELLING)
        with pytest.raises(psycopg.errors.QueryCanceled):
            opened.execute("SELECT pg_sleep(30)")


def test_a_paused_run_s_statement_is_let_to_its_end(held_lease: Lease) -> None:
    with rollouts.target() as opened:
        held_lease.attach(opened)
        PhaseRun.objects.update(state=RunState.PAUSING)
        wait_until(lambda: held_lease.asked_to is RunState.PAUSING)
        opened.execute("SELECT pg_sleep(0.1)")


def test_a_lease_that_cannot_be_read_for_its_whole_length_counts_as_lost(
    run: PhaseRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.1)
    with Lease(run, on_wait=lambda _: None) as lease:
        rollouts.execute("ALTER TABLE rollout_phaserun RENAME TO out_of_reach")
        wait_until(lambda: lease.lost)
        rollouts.execute("ALTER TABLE out_of_reach RENAME TO rollout_phaserun")


def test_a_wait_is_written_down_once_for_each_change(run: PhaseRun) -> None:
    written: list[str] = []
    lease = Lease(run, on_wait=written.append)
    for reason in ("", "a lock", "a lock", "rows", ""):
        lease.report_wait(reason)
    assert written == ["a lock", "rows", ""]
