"""Where the phases of a rollout stand, as their newest runs tell."""

from collections.abc import Iterable

from django.db.models import Case, When

from rollout.models import PhaseRun, Rollout, RunState, Way


def newest_runs(rollout: Rollout) -> dict[int, PhaseRun]:
    """The newest run of each phase that has one. Where a phase stands no repair changes."""
    return newest_runs_and_repair(rollout)[0]


def newest_runs_and_repair(rollout: Rollout) -> tuple[dict[int, PhaseRun], PhaseRun | None]:
    """The newest run of each phase, and the newest repair, from one query."""
    newest = (
        PhaseRun.objects.filter(rollout=rollout)
        .annotate(repairs=Case(When(way=Way.REPAIR, then=True), default=False))
        .select_related("repair")
        .order_by("repairs", "phase", "-id")
        .distinct("repairs", "phase")
    )
    found: list[PhaseRun] = list(newest)
    runs: dict[int, PhaseRun] = {run.phase: run for run in found if run.way != Way.REPAIR}
    repairs = [run for run in found if run.way == Way.REPAIR]
    return runs, max(repairs, key=lambda run: run.pk, default=None)


def newest_of(runs: Iterable[PhaseRun]) -> dict[int, PhaseRun]:
    """The newest run of each phase, of runs that were read already: all of a rollout's."""
    ordered = sorted(runs, key=lambda run: run.pk)
    return {run.phase: run for run in ordered if run.way != Way.REPAIR}


def is_done(run: PhaseRun | None) -> bool:
    """Whether a phase whose newest run this is stands as done."""
    return run is not None and run.way == Way.FORWARD and run.state == RunState.DONE


def is_untouched(run: PhaseRun | None) -> bool:
    """Whether nothing of a phase whose newest run this is remains in the target."""
    return run is None or (run.way == Way.BACKWARD and run.state == RunState.DONE)


def begun(runs: dict[int, PhaseRun]) -> list[int]:
    """The phases of which something may be in the target."""
    return [number for number, run in runs.items() if not is_untouched(run)]
