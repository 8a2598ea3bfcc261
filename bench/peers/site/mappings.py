"""Which lookup row a text means, by the views that the benchmark makes for the peers."""

from django.db import connection


def mapping(column: str) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT legacy, lookup_id FROM peer_{column}")  # noqa: S608
        return dict(cursor.fetchall())
