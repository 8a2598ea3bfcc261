"""Carries a rollout forward and back beside an application, and looks at both."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import application, partitions, tickets
from bench.locks import CHUNK_SECONDS, Locks, watched
from bench.loops.rollout import carry_out, seconds_of, workers
from bench.phase_report import Figures, Report
from bench.run import say
from bench.server import Connection, Database, create, django_uses
from bench.traffic import Traffic, traffic
from config import embedded
from rollout.models import BackfillJob, Direction, PhaseRun

LOCK_TIMED_OUT = "canceling statement due to lock timeout"
PHASES = {Direction.FORWARD: "phase", Direction.BACKWARD: "rollback of phase"}


@dataclass(frozen=True)
class Subject:
    """What is carried forward and back: a plan, its tables, and what an application does there."""

    plan: str
    tables: tuple[str, ...]
    scripts: Mapping[int, str]
    load: Callable[[Connection, int], None]


SUBJECTS = {
    "properties": Subject(
        application.PLAN, application.TABLES, application.SCRIPTS, application.load
    ),
    "keys": Subject(tickets.PLAN, tickets.TABLES, tickets.SCRIPTS, tickets.load),
    "partitions": Subject(partitions.PLAN, partitions.TABLES, partitions.SCRIPTS, partitions.load),
}


class PhaseRuns:
    """The benchmark: a database of so many rows, carried forward and back."""

    def __init__(
        self,
        server: Database,
        name: str,
        subject: Subject,
        rows: int,
        *,
        warm_up: float,
        idle_seconds: float,
    ) -> None:
        self.subject = subject
        self.rows, self.warm_up, self.idle_seconds = rows, warm_up, idle_seconds
        self.database = create(server, name)
        self.server_log = Path(server.home) / "postgres" / "log"

    def report(self) -> Report:
        self._load()
        with workers(self.database), watched(self.database, self.subject.tables) as locks:
            self._carry_out(0)
            report = Report(self.rows, self._idle())
            report.forward |= self._measured(locks, Direction.FORWARD, 1, 2, 3, 4)
            report.backward |= self._measured(locks, Direction.BACKWARD, 4, 3, 2, 1)
        embedded.drop_database(self.database.url)
        return report

    def _load(self) -> None:
        from django.core.management import call_command

        say(f"making {self.rows:,} rows")
        with django_uses(self.database):
            call_command("migrate", interactive=False, verbosity=0)
        with self.database.connect() as connection:
            self.subject.load(connection, self.rows)

    def _idle(self) -> dict[str, Any]:
        """The application with the server to itself."""
        with self._traffic() as seen:
            started = time.time()
            time.sleep(self.idle_seconds)
            ended = time.time()
            seen.stop(drain=0)
        alone = seen.between(started, ended)
        return {"app_max_ms": round(alone.longest, 1), "app_p99_ms": round(alone.p99, 1)}

    def _measured(self, locks: Locks, direction: Direction, *phases: int) -> dict[int, Figures]:
        """Phases one after the other, with the application beside them all the time."""
        spans: dict[int, tuple[float, float, int, PhaseRun]] = {}
        with self._traffic() as seen:
            for number in phases:
                timed_out = self._lock_timeouts()
                started = time.time()
                run = self._carry_out(number, direction)
                spans[number] = (started, time.time(), self._lock_timeouts() - timed_out, run)
                # So that a transaction that waits is not taken for the next phase's.
                time.sleep(min(1.0, self.warm_up))
            seen.stop(drain=self.warm_up)
        # The looks of the last moments have to come in.
        time.sleep(2 * CHUNK_SECONDS)
        return {number: self._figures(locks, seen, *span) for number, span in spans.items()}

    def _figures(
        self,
        locks: Locks,
        seen: Traffic,
        started: float,
        ended: float,
        timed_out: int,
        run: PhaseRun,
    ) -> Figures:
        holds = locks.between(started, ended)
        latencies = seen.between(started, ended)
        return Figures(
            longest_lock_ms=holds[0].ms if holds else 0.0,
            longest_lock=f"{holds[0].mode} on {holds[0].table}" if holds else "none was seen",
            blind_ms=locks.blind_ms(started, ended),
            app_max_ms=latencies.longest,
            app_p99_ms=latencies.p99,
            app_errors=latencies.errors,
            app_transactions=latencies.transactions,
            lock_timeouts=timed_out,
            seconds=ended - started,
            steps={row.step: round(seconds_of(row), 3) for row in run.steps.all()},
            slowest_in=_step_at(run, seen.slowest_due(started, ended)),
            rows_per_s=_rows_per_s(run),
            held_back=self._held_back(run),
        )

    def _carry_out(self, number: int, direction: Direction = Direction.FORWARD) -> PhaseRun:
        say(f"{PHASES[direction]} {number}")
        return carry_out(self.subject.plan, number, direction)

    def _held_back(self, run: PhaseRun) -> dict[str, float]:
        jobs = list(BackfillJob.objects.filter(step_run__run=run).values_list("pk", flat=True))
        with self.database.connect() as connection:
            rows = connection.execute(
                "SELECT signal, sum(seconds) FROM rollout.losses WHERE job = ANY (%s) GROUP BY 1",
                [jobs],
            ).fetchall()
        return {signal: round(seconds, 1) for signal, seconds in rows}

    def _lock_timeouts(self) -> int:
        return self.server_log.read_text(errors="replace").count(LOCK_TIMED_OUT)

    def _traffic(self) -> Any:
        return traffic(self.database, self.subject.scripts, self.rows, warm_up=self.warm_up)


def _rows_per_s(run: PhaseRun) -> dict[str, float]:
    """Of each pass that met rows, from its beginning to the end of its final sweep."""
    jobs = BackfillJob.objects.filter(step_run__run=run, scanned__gt=0)
    speeds: dict[str, float] = {}
    for job in jobs.exclude(finished_at=None).order_by("pk"):
        assert job.finished_at is not None
        seconds = (job.finished_at - job.created_at).total_seconds()
        speeds[f"{job.kind} {job.table}"] = round(job.scanned / seconds)
    return speeds


def _step_at(run: PhaseRun, moment: float) -> str:
    """The step that a run was in; empty for before, between and after its steps."""
    return next(
        (
            row.step
            for row in run.steps.all()
            if row.started_at is not None
            and row.finished_at is not None
            and row.started_at.timestamp() <= moment <= row.finished_at.timestamp()
        ),
        "",
    )
