"""What a proof says: how many rows were compared, and which differ."""

from django.utils import timezone

from rollout.engine import lane_totals, lanes, quarantine
from rollout.engine.quarantine import Poison
from rollout.engine.target import Connection
from rollout.logs.texts import counted, visible
from rollout.models import BackfillJob
from rollout.plan.errors import RolloutError
from rollout.plan.proofs import Proof

# The job's page has more of them.
MOST_NAMED = 20


class Disproved(RolloutError):
    """Rows differ from what they should be; the message names them."""


class RowsRefused(RolloutError):
    """Rows could not be restored; the message names them."""


def judge(connection: Connection, proof: Proof, job: BackfillJob) -> None:
    """Raises Disproved if rows differ or are missing; that ends the job.

    The next attempt compares all rows again: see ``begin_again``.
    """
    totals = lane_totals.totals(connection, job.pk)
    problem, differing = "", totals.quarantined
    if differing:
        problem = _differing(connection, proof, job, differing)
    elif proof.recorded is not None:
        row = connection.execute(proof.asks_recorded).fetchone()
        recorded = row[0] if row else None
        present = f"{totals.scanned} rows, {totals.fingerprint}"
        if recorded is not None and recorded != present:
            # A fingerprint tells of no row which it is.
            differing = 1
            problem = (
                f"The archive {job.table} has changed since it was created: it had "
                f"{recorded.partition(',')[0]} and has {totals.scanned} rows, or different ones. "
                "Restore the missing rows from the snapshot taken before phase 4, then retry."
            )
    if problem:
        job.scanned, job.already_right = totals.scanned, totals.exact
        job.quarantined, job.working_seconds = differing, totals.working_seconds
        job.finished_at = timezone.now()
        job.save(
            update_fields=[
                *("scanned", "already_right", "quarantined", "working_seconds", "finished_at")
            ]
        )
        lanes.forget(connection, job.pk)
        raise Disproved(problem)


def begin_again(connection: Connection, job: BackfillJob) -> None:
    """Have a failed proof compare all rows again."""
    lanes.forget(connection, job.pk)
    quarantine.forget(connection, job.pk)
    job.finished_at = None
    job.save(update_fields=["finished_at"])


def _differing(connection: Connection, proof: Proof, job: BackfillJob, number: int) -> str:
    named = quarantine.poison_of(job.pk, limit=MOST_NAMED).ask(connection)
    keys = keys_of(Poison(named.rows, number))
    # Texts may differ in invisible characters.
    how = f"{', '.join(named.rows[0].key)}: {visible(named.rows[0].error)}" if named.rows else ""
    what = f"{job.table} {'differs' if number == 1 else 'differ'}"
    cure = "Correct them, then retry."
    if proof.outcome == "kept":
        what = f"the archive {what} from what was archived"
    elif proof.outcome == "archived":
        what += " from what the archive says of them"
        cure = (
            "Nothing is dropped. Roll back phase 4, which removes the archive, then start it again."
        )
    elif proof.outcome == "restored":
        what += " from the archived value, or from the new columns"
    else:
        what += " from what the legacy columns say"
        cure = (
            "The application reads and writes the legacy columns again. If a value maps to another "
            "lookup row than its rows have, decide in the mapping review which one is right. Start "
            "an audit and repair what its report shows, then retry: every row is compared again."
        )
    return f"{counted(number, 'row')} of {what}: {keys}. {how}. {cure}"


def keys_of(named: Poison) -> str:
    """The keys of the first rows, and how many more there are."""
    keys = ", ".join(" ".join(row.key) for row in named.rows)
    more = named.number - len(named.rows)
    return f"{keys} and {more:,} more" if more > 0 else keys


def sentence(proof: Proof, job: BackfillJob) -> str:
    """What it showed."""
    compared = f"{counted(job.scanned, 'row')} compared"
    if proof.outcome == "kept":
        return f"{compared} with their own fingerprints, none differs."
    if proof.outcome == "meant":
        return f"{compared}: the legacy columns match the new ones; none differs."
    since = job.scanned - job.already_right
    match = "matches its" if since == 1 else "match their"
    return (
        f"{compared} with the archive: {job.already_right:,} not written since "
        f"are identical to it, {since:,} written since {match} new columns; none differs."
    )
