"""An application's transactions on tickets and their lines, for pgbench, while a key is widened.

It knows one name for each column, whatever phase it is.
"""

from bench.server import Connection
from rollout import plan as r

PLAN = "bench-tickets"

TICKETS = r.Table(
    name="bench_tickets",
    key=("id",),
    columns={"id": r.Column("integer", null=False), "parent_id": r.Column("integer")},
)
LINES = r.Table(
    name="bench_lines",
    key=("ticket_id", "number"),
    columns={
        "ticket_id": r.Column("integer", null=False),
        "number": r.Column("integer", null=False),
    },
)
KEY = r.WidenKey(
    table=TICKETS, column="id", references=((TICKETS, "parent_id"), (LINES, "ticket_id"))
)
TABLES = tuple(table.name for table in KEY.tables)

_SCHEMA = """
CREATE TABLE bench_tickets (
  id serial PRIMARY KEY, parent_id integer REFERENCES bench_tickets, subject text NOT NULL);
CREATE INDEX ON bench_tickets (parent_id);
CREATE TABLE bench_lines (
  ticket_id integer REFERENCES bench_tickets ON DELETE CASCADE, number integer,
  amount bigint NOT NULL DEFAULT 0, PRIMARY KEY (ticket_id, number))
"""
_PICK = r"\set n random(1, :rows)" + "\n"
_SHOW = """
SELECT t.subject, l.amount FROM bench_tickets t JOIN bench_lines l ON l.ticket_id = t.id
 WHERE t.id = :n;
"""
_RENAME = "UPDATE bench_tickets SET subject = 'Ticket :n' WHERE id = :n;\n"
_CHARGE = "UPDATE bench_lines SET amount = :n WHERE ticket_id = :n AND number = 1;\n"
_CREATE = r"""
BEGIN;
INSERT INTO bench_tickets (parent_id, subject) VALUES (:n, 'New') RETURNING id \gset
INSERT INTO bench_lines (ticket_id, number) VALUES (:id, 1), (:id, 2);
COMMIT;
"""
SCRIPTS = {
    weight: _PICK + script
    for weight, script in {40: _SHOW, 25: _RENAME, 20: _CHARGE, 15: _CREATE}.items()
}
"""Weight to script."""


def plan() -> r.Plan:
    """Every phase as the key gives it."""
    return r.Plan(
        name=PLAN,
        title="Benchmark, wide ticket ids",
        description="Ticket ids become bigint, and the time is taken.",
        tables=KEY.tables,
        translations=KEY.translations,
        phases=KEY.phases(),
    )


def load(connection: Connection, rows: int) -> None:
    """So many tickets, and as many lines."""
    for statement in _SCHEMA.split(";"):
        connection.execute(statement.encode())
    connection.execute(
        "INSERT INTO bench_tickets (parent_id, subject)"
        " SELECT nullif(n / 2, 0), 'Ticket ' || n FROM generate_series(1, %s) AS n",
        [rows],
    )
    connection.execute(
        "INSERT INTO bench_lines (ticket_id, number) SELECT n, 1 FROM generate_series(1, %s) AS n",
        [rows],
    )
    for table in TABLES:
        # Truncation after a vacuum takes an exclusive lock that is none of the rollout's.
        connection.execute(f"ALTER TABLE {table} SET (vacuum_truncate = off)".encode())
    connection.execute("VACUUM (ANALYZE)")
    connection.execute("CHECKPOINT")
