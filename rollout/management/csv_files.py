"""The shell's verb for the CSV files that steps of a plan work on."""

from dataclasses import asdict
from pathlib import Path

from rollout import runner
from rollout.engine.csv_files import Upload
from rollout.logs.texts import counted
from rollout.management.actors import actor_of, add_user
from rollout.management.verbs import AddVerb, Output
from rollout.models import Rollout
from rollout.plan import plans
from rollout.plan.csv_tasks import RunCsvTask, csv_steps
from rollout.queries.csv_uploads import MAX_BYTES, uploads_now
from rollout.queries.mapping_csv import InvalidMappingFile


def add_verbs(add: AddVerb) -> None:
    sub = add(
        "csv",
        csv,
        "List the CSV files of a plan's steps, upload one, or remove one.",
        example="csv order-prices --step import-prices --upload prices.csv",
        as_json=True,
    )
    sub.add_argument("--step", metavar="STEP", help="only the file of this step")
    form = sub.add_mutually_exclusive_group()
    form.add_argument(
        "--upload", metavar="FILE", help="upload this file in place of the one before"
    )
    form.add_argument("--remove", action="store_true", help="remove the file and its rows")
    add_user(sub)


def csv(
    out: Output,
    rollout: Rollout,
    step: str | None,
    upload: str | None,
    remove: bool,
    user: str | None,
    as_json: bool,
) -> int:
    plan = plans.get(rollout.plan)
    steps = {of.id: (n, of) for n in range(len(plan.phases)) for of in csv_steps(plan, n)}
    if step is not None and step not in steps:
        known = ", ".join(steps) or "none"
        return out.complain(f"No step '{step}' takes a CSV file. Those that do: {known}.")
    chosen = [steps[step]] if step is not None else list(steps.values())
    if upload or remove:
        if len(chosen) != 1:
            return out.complain(f"Name one step: --step {' or '.join(steps) or 'STEP'}.")
        try:
            _change(rollout, *chosen[0], upload, user)
        except (OSError, InvalidMappingFile) as error:
            return out.complain(f"Nothing was changed. {error}")
    uploads = uploads_now(rollout, [of for _, of in chosen]) if chosen else {}
    if as_json:
        return out.say_json(
            [
                {"phase": number, "step": of.id, "file": _as_data(uploads[of.id])}
                for number, of in chosen
            ]
        )
    if not chosen:
        return out.say("No step of the plan works on a CSV file.")
    return out.say("\n".join(_line(number, of, uploads[of.id]) for number, of in chosen))


def _change(
    rollout: Rollout, number: int, step: RunCsvTask, file: str | None, user: str | None
) -> None:
    """Upload a step's file, or remove it. Raises OSError, InvalidMappingFile and Refused."""
    actor = actor_of(user, "start_rollout", rollout.environment)
    if file is None:
        runner.remove_csv(rollout, number, step, actor=actor, source="shell")
        return
    with Path(file).open("rb") as opened:
        data = opened.read(MAX_BYTES + 1)
    name = Path(file).name.encode("utf-8", "backslashreplace").decode()
    runner.upload_csv(rollout, number, step, data, name=name, actor=actor, source="shell")


def _line(number: int, step: RunCsvTask, upload: Upload | None) -> str:
    if upload is None:
        return f"phase {number}, {step.id}: no file (columns {', '.join(step.columns)})"
    return (
        f"phase {number}, {step.id}: {upload.name}, {counted(upload.rows, 'row')}, "
        f"{upload.left:,} not done; uploaded by {upload.by}, {upload.at}; SHA-256 {upload.sha256}"
    )


def _as_data(upload: Upload | None) -> dict[str, object] | None:
    return None if upload is None else asdict(upload)
