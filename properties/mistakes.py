"""Wrong rows for a demo: as a restore or a replica's apply leaves them, behind the triggers."""

from __future__ import annotations

from django.db import connections, transaction

# Triggers are not asked in this role, for which PostgreSQL wants a superuser.
BEHIND_TRIGGERS = "SET LOCAL session_replication_role = replica"
HOUSES_TO_LAND = """
    UPDATE properties
       SET property_type_id = (SELECT id FROM property_types WHERE name = 'Land')
     WHERE id IN (SELECT p.id
                    FROM properties AS p
                    JOIN property_types AS t ON t.id = p.property_type_id
                   WHERE t.name = 'House'
                   ORDER BY p.id
                   LIMIT %s)"""


def plant_wrong_types(rows: int, *, using: str = "default") -> int:
    """Make land of so many houses, and return of how many. For while both columns are there.

    Raises django.db.Error, also where the database's user is no superuser.
    """
    with transaction.atomic(using), connections[using].cursor() as cursor:
        cursor.execute(BEHIND_TRIGGERS)
        cursor.execute(HOUSES_TO_LAND, [rows])
        return int(cursor.rowcount)
