"""Wrong rows for a demo: as a restore or a replica's apply leaves them, behind the triggers."""

from __future__ import annotations

from django.db import connections, transaction

# Triggers are not asked in this role, for which PostgreSQL wants a superuser.
BEHIND_TRIGGERS = "SET LOCAL session_replication_role = replica"
# Houses that become land, as far as there are any.
ANOTHER_TYPE = """
    UPDATE properties AS p
       SET property_type_id = (SELECT t.id
                                 FROM property_types AS t
                                WHERE t.id <> p.property_type_id
                                ORDER BY t.name = 'Land' DESC, t.id
                                LIMIT 1)
     WHERE p.id IN (SELECT p.id
                      FROM properties AS p
                      JOIN property_types AS t ON t.id = p.property_type_id
                     ORDER BY t.name = 'House' DESC, p.id
                     LIMIT %s)"""


def plant_wrong_types(rows: int, *, using: str = "default") -> int:
    """Give so many rows another type, and return how many. For while both columns are there.

    Raises django.db.Error, also where the database's user is no superuser.
    """
    with transaction.atomic(using), connections[using].cursor() as cursor:
        cursor.execute(BEHIND_TRIGGERS)
        cursor.execute(ANOTHER_TYPE, [rows])
        return int(cursor.rowcount)
