"""The shell's verb for rehearsals."""

from typing import Any

from rollout import runner
from rollout.journal.actors import Actor
from rollout.logs.texts import counted
from rollout.management.actors import actor_of, add_user
from rollout.management.verbs import UNTIL_FINISHED, AddVerb, Output, names_of, wait_while
from rollout.models import Direction, Rehearsal, RehearsalState, Rollout, Snapshot
from rollout.queries import rehearsals
from rollout.queries.rehearsals import Report


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "rehearse",
        rehearse,
        "Rehearse all phases and rollbacks in a database restored from a snapshot.",
        example="rehearse order-states --wait",
        no="the rehearsal failed or was cancelled",
        as_json=True,
        waits=UNTIL_FINISHED,
    )
    sub.add_argument(
        "--snapshot", type=int, help="number of the snapshot (default: the newest verified)"
    )
    sub.add_argument(
        "--keep", action="store_true", help="keep the database if the rehearsal passes"
    )
    sub.add_argument(
        "--anyway", action="store_true", help="rehearse even if the shared server is under load"
    )
    add_user(sub)
    sub.add_argument(
        "--last", action="store_true", help="show the last rehearsal instead of starting one"
    )


def rehearse(
    out: Output,
    rollout: Rollout,
    snapshot: int | None,
    keep: bool,
    anyway: bool,
    wait: bool,
    last: bool,
    user: str | None,
    as_json: bool,
) -> int:
    """Request a rehearsal and report it, or report the last one. Raises Refused."""
    if last:
        report = _last(rollout)
    else:
        actor = actor_of(user, "rehearse_rollout", rollout.environment)
        report = _rehearsed(
            out, rollout, snapshot, keep=keep, anyway=anyway, wait=wait, actor=actor
        )
    if as_json:
        return out.say_json(of_rehearsal(report), good=_is_good(report))
    return out.say(_as_text(report), good=_is_good(report))


def _rehearsed(
    out: Output,
    rollout: Rollout,
    snapshot: int | None,
    *,
    keep: bool,
    anyway: bool,
    wait: bool,
    actor: Actor,
) -> Report:
    """Request a rehearsal, and wait for it if asked to. Raises Refused."""
    named = None
    if snapshot is not None:
        named = Snapshot.objects.filter(pk=snapshot, rollout=rollout).first()
        if named is None:
            raise runner.Refused(
                f"Snapshot {snapshot} of {rollout} not found. List snapshots: manage.py rollout "
                f"snapshots {rollout.plan}"
            )
    rehearsal = runner.rehearse(
        rollout, snapshot=named, keep=keep, anyway=anyway, actor=actor, source="shell"
    )
    wait_while(lambda: wait and rehearsal.under_way, rehearsal, out)
    return rehearsals.report_of(rehearsal)


def _last(rollout: Rollout) -> Report:
    """The newest rehearsal. Raises Refused if there is none."""
    rehearsal = rehearsals.of_rollout(rollout).first()
    if rehearsal is None:
        raise runner.Refused(
            f"{rollout} has not been rehearsed. Start a rehearsal: manage.py rollout rehearse "
            f"{rollout.plan}"
        )
    return rehearsals.report_of(rehearsal)


def _is_good(report: Report) -> bool:
    """Whether it has not failed."""
    return _state(report.rehearsal) not in (RehearsalState.FAILED, RehearsalState.CANCELLED)


def _state(rehearsal: Rehearsal) -> RehearsalState:
    return RehearsalState(rehearsal.state)


def of_rehearsal(report: Report) -> dict[str, Any]:
    """A rehearsal for ``--json``."""
    rehearsal = report.rehearsal
    longest = report.longest_lock
    return {
        "rehearsal": rehearsal.pk,
        **names_of(rehearsal.rollout),
        "state": rehearsal.state,
        "snapshot": rehearsal.snapshot_id,
        "plan_digest": rehearsal.plan_digest,
        "rows": rehearsal.rows,
        "first_phase": rehearsal.first_phase,
        "started_at": rehearsal.started_at and rehearsal.started_at.isoformat(),
        "finished_at": rehearsal.finished_at and rehearsal.finished_at.isoformat(),
        "seconds": report.seconds,
        "database": rehearsal.environment.database,
        "database_state": rehearsal.environment.state,
        "longest_lock_ms": longest and longest.held_ms,
        "longest_wait_ms": report.longest_wait_ms,
        "longest_wait_alone_ms": report.alone.longest_ms,
        "operations": report.operations,
        "errors": report.errors,
        "look_ms": rehearsal.lock_poll_ms,
        "came_back": rehearsal.came_back,
        "catalog_differences": rehearsal.catalog_differences,
        "data_differences": rehearsal.data_differences,
        "untouched_rows": rehearsal.untouched_rows,
        "written_rows": rehearsal.written_rows,
        "error": rehearsal.error,
        "advice": rehearsal.advice,
        "phases": [
            {
                "phase": result.phase,
                "direction": result.direction,
                "state": result.run.state,
                "seconds": result.seconds,
                "operations": result.traffic.operations,
                "errors": result.traffic.errors,
                "longest_wait_ms": result.traffic.longest_ms,
                "wal_bytes": result.wal,
                "growth_bytes": result.growth,
                "steps": [
                    {
                        "step": step.step,
                        "state": step.state,
                        "seconds": step.seconds,
                        "longest_wait_ms": step.traffic.longest_ms,
                        "wal_bytes": step.wal,
                        "growth_bytes": step.growth,
                        "locks": [
                            {
                                "table": lock.table,
                                "mode": lock.mode.value,
                                "held_ms": lock.held_ms,
                                "times": lock.times,
                                "waited_ms": lock.waited_ms,
                            }
                            for lock in step.locks
                        ],
                    }
                    for step in result.steps
                ],
            }
            for result in report.results
        ],
    }


def _as_text(report: Report) -> str:
    """A rehearsal for people."""
    rehearsal, longest = report.rehearsal, report.longest_lock
    lines = [
        f"Rehearsal {rehearsal.pk} of {rehearsal.rollout}: {rehearsal.state}, "
        f"{counted(rehearsal.rows, 'row')} from snapshot {rehearsal.snapshot_id}"
    ]
    for result in report.results:
        direction = "rollback" if result.direction == Direction.BACKWARD else "forward"
        lock = result.longest_lock
        lines.append(
            f"  {result.phase} {result.role:<9} {direction:<8} {_number(result.seconds, 's', 1):>9}"
            f"   lock {_number(lock.held_ms if lock else None, 'ms'):>8}"
            f"   wait {_number(result.traffic.longest_ms, 'ms'):>8}"
            f"   WAL {_number(result.wal and result.wal / 1e6, 'MB', 1):>9}   {result.run.state}"
        )
    verdict = {True: "round trip clean", False: "round trip not clean"}
    held = longest.held_ms if longest else None
    lines.append(
        f"  longest blocking lock {_number(held, 'ms')}, longest application wait "
        f"{_number(report.longest_wait_ms, 'ms')} (traffic alone "
        f"{_number(report.alone.longest_ms, 'ms')})"
    )
    if rehearsal.came_back is not None:
        lines.append(
            f"  {verdict[rehearsal.came_back]}: {counted(rehearsal.untouched_rows, 'row')} "
            "unchanged, "
            f"{counted(rehearsal.written_rows, 'row', 'match')} what the traffic wrote"
        )
    lines += [
        f"  {difference}"
        for difference in rehearsal.catalog_differences + rehearsal.data_differences
    ]
    if rehearsal.under_way:
        lines.append(
            f"  Follow progress: manage.py rollout rehearse {rehearsal.rollout.plan} --last"
        )
    if rehearsal.error:
        lines.append(f"  {rehearsal.error} {rehearsal.advice}")
    return "\n".join(lines)


def _number(value: float | None, unit: str, places: int = 0) -> str:
    return "–" if value is None else f"{value:,.{places}f} {unit}"
