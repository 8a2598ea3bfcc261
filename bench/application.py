"""The reference application's transactions on properties, for pgbench, in whatever phase it is.

Like the application itself each asks the modes, under the lock that a cutover waits for, and reads
and writes the shape that they name.
"""

from psycopg import sql

from bench.server import Connection
from bench.template import KEY_VALUES, insert_listings
from rollout.plan.switch import lock_key

PLAN = "property-classification"
TABLES = ("properties", "property_images", "property_types", "property_statuses")

_BEGIN = r"""\set n random(1, :rows)
\set city random(0, 4999)
BEGIN;
SELECT pg_advisory_xact_lock_shared({lock});
SELECT coalesce(max((read_mode = 'new')::int), 0) AS reads_new,
       coalesce(max((write_mode = 'new')::int), 0) AS writes_new
  FROM rollout.modes WHERE plan = 'property-classification' \gset
"""
_SHOW = r"""\if :reads_new
SELECT p.title, p.price, t.name, s.name FROM properties p
  LEFT JOIN property_types t ON t.id = p.property_type_id
  LEFT JOIN property_statuses s ON s.id = p.property_status_id WHERE p.id = md5(:n::text)::uuid;
\else
SELECT title, price, type, status FROM properties WHERE id = md5(:n::text)::uuid;
\endif
"""
_REPRICE = """
UPDATE properties SET price = :n, title = 'Listing :n, new price', updated_at = now()
 WHERE id = md5(:n::text)::uuid;
"""
_RECLASSIFY = r"""\if :writes_new
UPDATE properties SET property_type_id = (SELECT id FROM property_types WHERE name = 'House'),
       property_status_id = (SELECT id FROM property_statuses WHERE name = 'Sold'),
       is_listed = false, published_at = NULL, updated_at = now()
 WHERE id = md5(:n::text)::uuid;
\else
UPDATE properties SET type = 'House', status = 'Sold', updated_at = now()
 WHERE id = md5(:n::text)::uuid;
\endif
"""
_CREATE = r"""\if :writes_new
INSERT INTO properties (id, title, description, address, city, postal_code, price, created_at,
       updated_at, currency, is_listed, property_type_id, property_status_id)
SELECT gen_random_uuid(), 'Listing', 'Just listed', '1 Main St', 'City :city', '10001', :n, now(),
       now(), 'USD', false, t.id, s.id
  FROM property_types t, property_statuses s WHERE t.name = 'House' AND s.name = 'Sold';
\else
INSERT INTO properties (id, title, description, address, city, postal_code, price, created_at,
       updated_at, type, status)
VALUES (gen_random_uuid(), 'Listing', 'Just listed', '1 Main St', 'City :city', '10001', :n, now(),
       now(), 'House', 'Sold');
\endif
"""
_SEARCH = r"""\if :reads_new
SELECT id, title, price FROM properties WHERE city = 'City :city'
   AND property_type_id = (SELECT id FROM property_types WHERE name = 'House')
 ORDER BY created_at DESC LIMIT 20;
\else
SELECT id, title, price FROM properties WHERE city = 'City :city' AND type = 'House'
 ORDER BY created_at DESC LIMIT 20;
\endif
"""

SCRIPTS = {
    weight: _BEGIN.replace("{lock}", str(lock_key(PLAN))) + statement + "COMMIT;\n"
    for weight, statement in {
        40: _SHOW,
        25: _REPRICE,
        5: _RECLASSIFY,
        10: _CREATE,
        20: _SEARCH,
    }.items()
}
"""Weight to script."""


_INTO = sql.SQL(
    "properties (id, title, description, address, city, postal_code, price, bedrooms, bathrooms,"
    " area, latitude, longitude, type, status, created_at, updated_at)"
)


def load(connection: Connection, rows: int) -> None:
    """So many properties, whose keys the scripts compute."""
    insert_listings(connection, _INTO, KEY_VALUES["uuid"], rows)
    # Truncation after a vacuum takes an exclusive lock that is none of the rollout's.
    connection.execute("ALTER TABLE properties SET (vacuum_truncate = off)")
    connection.execute("VACUUM (ANALYZE)")
    connection.execute("CHECKPOINT")
