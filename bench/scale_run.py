"""The property rollout at one size, and what it took."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import application
from bench.application import PLAN
from bench.loops.rollout import carry_out, workers
from bench.memory import watched
from bench.pages import PAGE, measured
from bench.run import say
from bench.server import Database, create, django_uses
from config import embedded
from rollout.models import AuditReport, BackfillJob, Direction, PhaseRun

# 1,010 with 200,000 rows, after phase 4: a table of 327, indexes of 441, the archive. The rest is
# for sorting them; the WAL that the server keeps is in the spare bytes.
BYTES_A_ROW = 1200
SPARE_BYTES = 4 * 1024**3

# Of a text that no row has, that all have, and that some have; of what few rows have.
APPLICATION_PAGES = (
    "/properties/",
    "/properties/?text=loft",
    "/properties/?text=floors",
    "/properties/?text=Listing+4711",
    "/properties/?type=Houseboat",
    "/properties/?type=Houseboat&status=Withdrawn",
    "/properties/?text=floors&type=Houseboat&status=Withdrawn",
    "/properties/?price_from=100000&price_to=100001",
)
KINDS = ("fill", "archive", "restore")
SIZES = """
SELECT coalesce(sum(pg_total_relation_size(c.oid))
                  FILTER (WHERE n.nspname = 'rollout'
                            AND c.relname IN ('lanes', 'losses', 'throughputs')), 0)::bigint,
       coalesce(sum(pg_total_relation_size(c.oid))
                  FILTER (WHERE n.nspname = 'public' AND c.relname LIKE 'rollout\\_%'), 0)::bigint
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r'
"""


def fitting(directory: Path, sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    """The sizes for which there is room, and the others. Each database is gone before the next."""
    free = shutil.disk_usage(directory).free - SPARE_BYTES
    say(
        f"{max(sizes):,} rows need about {max(sizes) * BYTES_A_ROW / 1e9:,.1f} GB of disk; "
        f"{free / 1e9:,.1f} GB are free"
    )
    fit = [rows for rows in sizes if rows * BYTES_A_ROW <= free]
    return fit, [rows for rows in sizes if rows not in fit]


def figures(server: Database, rows: int, requests: int) -> dict[str, Any]:
    """Carry a database of so many properties forward and back; rows a second, bytes, pages."""
    from django.core.management import call_command

    say(f"making {rows:,} properties")
    database = create(server, f"scale_{rows}")
    try:
        with django_uses(database):
            call_command("migrate", interactive=False, verbosity=0)
        with database.connect() as connection:
            application.load(connection, rows)
        with workers(database, number=1), watched(database.home) as memory:
            result = _speeds(database, rows, requests)
            result["worker_bytes"] = memory.most
            with database.connect() as connection:
                sizes = connection.execute(SIZES).fetchone()
            assert sizes is not None
            result["checkpoint_bytes"], result["journal_bytes"] = sizes
        with django_uses(database):
            for label, address in _addresses(database).items():
                result["pages"][label] = measured(address, requests)
        return result
    finally:
        embedded.drop_database(database.url)


def _speeds(database: Database, rows: int, requests: int) -> dict[str, Any]:
    """Rows a second of each pass over the properties, and of the last full audit; the disk that
    the database takes at most; and the application's pages after each phase.
    """
    runs: list[PhaseRun] = []
    pages: dict[str, Any] = {}
    most_bytes = 0
    for number, direction in (
        *((number, Direction.FORWARD) for number in range(5)),
        (4, Direction.BACKWARD),
    ):
        done = f"{'rollback of ' if direction == Direction.BACKWARD else ''}phase {number}"
        say(f"{rows:,} rows: {done}")
        runs.append(carry_out(PLAN, number, direction))
        most_bytes = max(most_bytes, _bytes_of(database))
        for address in APPLICATION_PAGES:
            pages[f"{address} after {done}"] = measured(address, requests)
    jobs = BackfillJob.objects.filter(step_run__run__in=runs, table="properties")
    speeds = {f"{kind}_rows_per_s": _speed(jobs.filter(kind=kind).latest("pk")) for kind in KINDS}
    audit = AuditReport.objects.filter(mode="full", finished_at__isnull=False).latest("pk")
    assert audit.finished_at is not None
    return speeds | {
        "audit_rows_per_s": audit.rows / (audit.finished_at - audit.started_at).total_seconds(),
        "disk_bytes_a_row": most_bytes / rows,
        "pages": pages,
    }


def _bytes_of(database: Database) -> int:
    with database.connect() as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


def _speed(job: BackfillJob) -> float:
    assert job.finished_at is not None
    return job.scanned / (job.finished_at - job.created_at).total_seconds()


def _addresses(database: Database) -> dict[str, str]:
    """A page's label, which is the same at each size, to its address."""
    job = BackfillJob.objects.filter(kind="fill").latest("pk")
    audit = AuditReport.objects.latest("pk")
    with database.connect() as connection:
        row = connection.execute("SELECT id FROM properties LIMIT 1").fetchone()
    assert row is not None
    pages = [
        *("/rollout/", PAGE),
        *(f"{PAGE}phases/{number}/" for number in range(5)),
        *(f"{PAGE}{name}/" for name in ("audits", "jobs", "monitoring", "schema", "mappings")),
        f"{PAGE}mappings/properties/type/",
    ]
    return {address: address for address in pages} | {
        "/rollout/jobs/…/": f"/rollout/jobs/{job.pk}/",
        "/rollout/audits/…/": f"/rollout/audits/{audit.pk}/",
        "/properties/…/": f"/properties/{row[0]}/",
    }
