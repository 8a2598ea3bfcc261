"""CSV files that people upload, kept in the target until their rows are done."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from psycopg import sql

from rollout.engine.target import Connection, fetch_bool, install
from rollout.plan.csv_tasks import DONE, CsvFile


@dataclass(frozen=True)
class Upload:
    """What is known of a file: its name, who uploaded it and when, its digest, its rows."""

    name: str
    by: str
    at: str
    sha256: str
    rows: int
    left: int = 0
    """Rows that are not done."""


def load(
    connection: Connection,
    file: CsvFile,
    rows: Iterable[tuple[int, Sequence[str]]],
    *,
    name: str,
    by: str,
    at: str,
    sha256: str,
) -> Upload:
    """Keep a file's rows in place of those of an earlier one, or none of them.

    Raises what ``rows`` raises, and psycopg.Error; the earlier file stays then.
    """
    number = 0
    # Before phase 1 the engine's own schema may not be there.
    install(connection)
    with connection.transaction():
        connection.execute(file.drop)
        connection.execute(file.create)
        with connection.cursor() as cursor, cursor.copy(file.copy) as copy:
            for line, cells in rows:
                copy.write_row([line, *cells])
                number += 1
        upload = Upload(name, by, at, sha256, number)
        about = {key: value for key, value in asdict(upload).items() if key != "left"}
        connection.execute(
            sql.SQL("COMMENT ON TABLE {} IS {}").format(
                file.table.identifier, sql.Literal(json.dumps(about))
            )
        )
    connection.execute(sql.SQL("ANALYZE {}").format(file.table.identifier))
    return upload


def remove(connection: Connection, file: CsvFile) -> None:
    connection.execute(file.drop)


def upload_of(connection: Connection, file: CsvFile) -> Upload | None:
    """What is uploaded of a file; None for nothing."""
    if not fetch_bool(connection, file.is_there):
        return None
    row = connection.execute(
        sql.SQL(
            "SELECT obj_description({}, 'pg_class'), count(*) FILTER (WHERE NOT {}) FROM {}"
        ).format(file.table.regclass, sql.Identifier(DONE), file.table.identifier)
    ).fetchone()
    assert row is not None
    return Upload(**json.loads(row[0]), left=row[1])
