"""CSV files that a lead uploads for a step, and takes away again."""

import hashlib

import psycopg

from rollout.engine import csv_files
from rollout.engine.csv_files import Upload
from rollout.engine.target import reason_of
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.environments import target_of
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database, in_words
from rollout.journal.rollouts import active_run, alone_with, is_busy, plan_of
from rollout.logs.texts import counted
from rollout.models import Rollout
from rollout.plan.csv_tasks import RunCsvTask
from rollout.queries.csv_uploads import rows_in

_MAX_NAME = 100


def upload_csv(
    rollout: Rollout,
    phase: int,
    step: RunCsvTask,
    data: bytes,
    *,
    name: str,
    actor: Actor,
    source: str = "web",
) -> Upload:
    """Keep a file's rows for a step, in place of those of an earlier file.

    Raises Refused and InvalidMappingFile; the earlier file stays then. The target commits before
    the journal, as with a mapping review.
    """
    file = step.file(plan_of(rollout))
    with alone_with(rollout):
        _refuse_while_running(rollout)
        digest = hashlib.sha256(data).hexdigest()
        try:
            with target_of(rollout.environment).connect() as connection:
                upload = csv_files.load(
                    connection,
                    file,
                    rows_in(data, step.columns),
                    name=name.replace("\0", "")[:_MAX_NAME],
                    by=actor.get_username(),
                    at=in_words(by_the_database()),
                    sha256=digest,
                )
        except psycopg.Error as error:
            raise Refused(f"The file was not kept: {reason_of(error)}") from error
        activity_log.record(
            Event.CSV_UPLOADED,
            f"Uploaded {upload.name} for step '{step.id}': {counted(upload.rows, 'row')}, SHA-256 "
            f"{digest}.",
            on=rollout,
            phase=phase,
            actor=actor,
            source=source,
            csv_step=step.id,
            file=upload.name,
            rows=upload.rows,
            bytes=len(data),
            sha256=digest,
        )
    return upload


def remove_csv(
    rollout: Rollout, phase: int, step: RunCsvTask, *, actor: Actor, source: str = "web"
) -> None:
    """Remove a step's file with its rows, those in quarantine too. Raises Refused."""
    file = step.file(plan_of(rollout))
    with alone_with(rollout):
        _refuse_while_running(rollout)
        try:
            with target_of(rollout.environment).connect() as connection:
                upload = csv_files.upload_of(connection, file)
                csv_files.remove(connection, file)
        except psycopg.Error as error:
            raise Refused(f"The file was not removed: {reason_of(error)}") from error
        if upload is None:
            raise Refused("There is no file to remove: it was removed already.")
        activity_log.record(
            Event.CSV_REMOVED,
            f"Removed {upload.name} of step '{step.id}': {counted(upload.left, 'row')} not done.",
            on=rollout,
            phase=phase,
            actor=actor,
            source=source,
            csv_step=step.id,
            file=upload.name,
            left=upload.left,
            sha256=upload.sha256,
        )


def _refuse_while_running(rollout: Rollout) -> None:
    if active := active_run(rollout):
        raise Refused(is_busy(active))
