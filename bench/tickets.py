"""An application's transactions on tickets and their lines, for pgbench, while a key is widened.

It knows one name for each column, whatever phase it is.
"""

from bench.server import Connection
from rollout import plan as r


def by_weight(pick: str, *, show: str, rename: str, charge: str, create: str) -> dict[int, str]:
    """Weight to script: most transactions read, and few create."""
    return {
        weight: pick + script
        for weight, script in {40: show, 25: rename, 20: charge, 15: create}.items()
    }


def plan_of(key: r.WidenKey, name: str, title: str) -> r.Plan:
    """Every phase as the key gives it."""
    return r.Plan(
        name=name,
        title=title,
        description="Ticket ids become bigint, and the time is taken.",
        tables=key.tables,
        translations=key.translations,
        phases=key.phases(),
    )


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
SCRIPTS = by_weight(_PICK, show=_SHOW, rename=_RENAME, charge=_CHARGE, create=_CREATE)


def plan() -> r.Plan:
    return plan_of(KEY, PLAN, "Benchmark, wide ticket ids")


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
