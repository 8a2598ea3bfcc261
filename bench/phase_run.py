"""Carries the property rollout forward and back beside an application, and looks at both."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import application
from bench.locks import CHUNK_SECONDS, Locks, watched
from bench.loops.rollout import carry_out, seconds_of, workers
from bench.run import say
from bench.server import Database, create, django_uses
from bench.traffic import Traffic, traffic
from rollout.engine import ddl
from rollout.models import BackfillJob, Direction, PhaseRun

TABLES = ("properties", "property_images", "property_types", "property_statuses")
LONGEST_HOLD_MS = 50.0
LOCK_TIMED_OUT = "canceling statement due to lock timeout"
PHASES = {Direction.FORWARD: "phase", Direction.BACKWARD: "rollback of phase"}


@dataclass(frozen=True)
class Figures:
    """Of one phase in one direction; milliseconds."""

    longest_lock_ms: float
    longest_lock: str
    blind_ms: float
    app_max_ms: float
    app_p99_ms: float
    app_errors: int
    app_transactions: int
    lock_timeouts: int
    seconds: float
    steps: dict[str, float]
    """How long each took, in seconds."""
    slowest_in: str
    """The step that was under way when the application's slowest transaction was due."""
    held_back: dict[str, float]
    """Seconds that passes over the rows lost to each sign of the database's health."""

    @property
    def lock_timeout_ms(self) -> float:
        """The longest lock timeout that can have been in force after so many that ran out."""
        longest = ddl.FIRST_LOCK_TIMEOUT_SECONDS * 1.3**self.lock_timeouts
        return min(ddl.MAX_LOCK_TIMEOUT_SECONDS, longest) * 1000

    def as_dict(self) -> dict[str, Any]:
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in {**vars(self), "lock_timeout_ms": self.lock_timeout_ms}.items()
        }


@dataclass
class Report:
    """The figures of every phase that was measured."""

    rows: int
    idle: dict[str, Any]
    forward: dict[int, Figures] = field(default_factory=dict)
    backward: dict[int, Figures] = field(default_factory=dict)

    @property
    def all(self) -> dict[str, Figures]:
        return {
            **{f"phase {number}": figures for number, figures in self.forward.items()},
            **{f"rollback of {number}": figures for number, figures in self.backward.items()},
        }

    @property
    def targets(self) -> dict[str, dict[str, Any]]:
        """What must be reached, what was, and whether that is enough."""
        every = self.all.values()
        slowest = max(every, key=lambda phase: phase.app_max_ms / phase.lock_timeout_ms)
        targets = {}
        for name, at_most, reached in (
            ("app_errors", 0, sum(phase.app_errors for phase in every)),
            ("app_max_ms", slowest.lock_timeout_ms, slowest.app_max_ms),
            ("longest_lock_ms", LONGEST_HOLD_MS, max(phase.longest_lock_ms for phase in every)),
        ):
            targets[name] = {"at_most": at_most, "reached": reached, "met": reached <= at_most}
        return targets

    def as_dict(self) -> dict[str, Any]:
        back = list(self.backward.values())
        return {
            "rows": self.rows,
            "phases": {str(number): phase.as_dict() for number, phase in self.forward.items()},
            "rollback": {
                "longest_lock_ms": round(max(phase.longest_lock_ms for phase in back), 3),
                "app_max_ms": round(max(phase.app_max_ms for phase in back), 3),
                "app_p99_ms": round(max(phase.app_p99_ms for phase in back), 3),
                "app_errors": sum(phase.app_errors for phase in back),
                "phases": {str(number): phase.as_dict() for number, phase in self.backward.items()},
            },
            "idle": self.idle,
            "targets": self.targets,
        }

    def lines(self) -> Iterator[str]:
        """The table, as text."""
        yield f"{self.rows:,} rows; the application alone: {self.idle}"
        yield (
            f"{'':<14}{'seconds':>8} {'lock ms':>8} {'app max':>8} {'p99':>7} {'errors':>7}"
            "  longest exclusive lock"
        )
        for name, run in self.all.items():
            yield (
                f"{name:<14}{run.seconds:>8.1f} {run.longest_lock_ms:>8.1f} {run.app_max_ms:>8.0f} "
                f"{run.app_p99_ms:>7.1f} {run.app_errors:>7}  {run.longest_lock} (looked at least "
                f"every {run.blind_ms:.1f} ms)"
            )
        for name, target in self.targets.items():
            verdict = "met" if target["met"] else "MISSED"
            yield f"{name:<18} {target['reached']:>8.1f}  ≤ {target['at_most']:<7g} {verdict}"


class PhaseRuns:
    """The benchmark: a database of so many properties, carried forward and back."""

    def __init__(self, server: Database, rows: int, warm_up: float) -> None:
        self.rows, self.warm_up = rows, warm_up
        self.database = create(server, "phases")
        self.server_log = Path(server.home) / "postgres" / "log"

    def report(self) -> Report:
        self._load()
        with workers(self.database), watched(self.database, TABLES) as locks:
            self._carry_out(0)
            report = Report(self.rows, self._idle())
            report.forward |= self._measured(locks, Direction.FORWARD, 1)
            self._carry_out(2)
            report.forward |= self._measured(locks, Direction.FORWARD, 3, 4)
            report.backward |= self._measured(locks, Direction.BACKWARD, 4, 3, 2, 1)
        return report

    def _load(self) -> None:
        from django.core.management import call_command

        say(f"making {self.rows:,} properties")
        with django_uses(self.database):
            call_command("migrate", interactive=False, verbosity=0)
        with self.database.connect() as connection:
            application.load(connection, self.rows)

    def _idle(self) -> dict[str, Any]:
        """The application with the server to itself."""
        with self._traffic() as seen:
            started = time.time()
            time.sleep(self.warm_up)
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
            held_back=self._held_back(run),
        )

    def _carry_out(self, number: int, direction: Direction = Direction.FORWARD) -> PhaseRun:
        say(f"{PHASES[direction]} {number}")
        return carry_out(application.PLAN, number, direction)

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
        return traffic(self.database, application.SCRIPTS, self.rows, warm_up=self.warm_up)


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
