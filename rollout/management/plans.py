"""The shell's verbs that show where rollouts stand, and what they would run."""

from pathlib import Path

from rollout import runner
from rollout.journal.rollouts import no_phase
from rollout.management.actors import ShellActor
from rollout.management.verbs import DONE, AddVerb, Output
from rollout.models import Direction, Rollout
from rollout.plan import plans
from rollout.plan.sql_exports import FileNotGenerated, write_files
from rollout.queries import text_reports
from rollout.queries.status import RolloutStatus, all_rollouts, find_rollout, status_of


def add_verbs(add: AddVerb) -> None:
    add(
        "list",
        list_all,
        "List every plan in every environment, with its phase.",
        example="list",
        plan=False,
        as_json=True,
    )
    add(
        "show",
        show,
        "Show rollout status: phases, the active run, gates.",
        example="show order-states",
        as_json=True,
    )
    sub = add(
        "sql",
        sql,
        "Print the SQL of a phase for psql, or write all phases to files.",
        example="sql order-states 3 --rollback",
    )
    sub.add_argument("phase", type=int, nargs="?", help="the phase, 0 to 4")
    sub.add_argument(
        "--write",
        metavar="DIR",
        help="write the numbered SQL files of every phase, for review in a pull request",
    )
    sub.add_argument("--rollback", action="store_true", help="print the rollback script instead")
    add(
        "accept-files",
        accept_files,
        "Accept SQL files that were edited after they were applied.",
        example="accept-files order-states",
    )


def list_all(out: Output, as_json: bool) -> int:
    statuses = [status_of(rollout) for rollout in all_rollouts()]
    if as_json:
        return out.say_json([text_reports.of_status(status) for status in statuses])
    for status in statuses:
        out.say(f"{status.plan.name}  {status.rollout.environment}  {_reached(status)}")
    return DONE


def _reached(status: RolloutStatus) -> str:
    """How far a rollout is, in the console's words."""
    if status.phase is not None:
        return f"phase {status.phase}"
    is_back = any(phase.direction == Direction.BACKWARD for phase in status.phases)
    return "rolled back" if is_back else "not started"


def show(out: Output, rollout: Rollout, as_json: bool) -> int:
    status = status_of(rollout)
    if as_json:
        return out.say_json(text_reports.of_status(status))
    return out.say(text_reports.as_text(status))


def sql(
    out: Output, plan: str, env: str, phase: int | None, rollback: bool, write: str | None
) -> int:
    if write is not None:
        return _write_files(out, plan, Path(write))
    status = status_of(find_rollout(plan, env))
    if phase is None:
        return out.complain("Name a phase, or write all phases to files: --write DIR")
    if not 0 <= phase < len(status.phases):
        return out.complain(no_phase(phase))
    out.data.write(text_reports.sql_of(status.plan, phase, rollback=rollback))
    return DONE


def _write_files(out: Output, plan: str, directory: Path) -> int:
    try:
        files = write_files(plans.get(plan), directory)
    except (FileNotGenerated, OSError) as problem:
        return out.complain(str(problem))
    return out.say(f"Wrote {len(files)} files to {directory}.")


def accept_files(out: Output, rollout: Rollout) -> int:
    for step in runner.accept_files(rollout, actor=ShellActor()):
        out.say(f"Accepted {step.step} of phase {step.run.phase}.")
    return DONE
