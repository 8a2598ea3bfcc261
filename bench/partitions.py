"""An application's transactions on partitioned tickets, for pgbench, while a key is widened."""

from bench.server import Connection
from bench.tickets import by_weight, plan_of
from rollout import plan as r

PLAN = "bench-partitions"
PARTITIONS = 12

TICKETS = r.Table(
    name="bench_parted_tickets",
    key=("id", "month"),
    partitioned=True,
    columns={
        "id": r.Column("integer", null=False),
        "month": r.Column("integer", null=False),
        "parent_id": r.Column("integer"),
    },
)
LINES = r.Table(
    name="bench_parted_lines",
    key=("ticket_id", "month", "number"),
    columns={
        "ticket_id": r.Column("integer", null=False),
        "month": r.Column("integer", null=False),
        "number": r.Column("integer", null=False),
    },
)
KEY = r.WidenKey(
    table=TICKETS, column="id", references=((TICKETS, "parent_id"), (LINES, "ticket_id"))
)
TABLES = tuple(table.name for table in KEY.tables)

_SCHEMA = """
CREATE TABLE bench_parted_tickets (
  id serial, month integer, parent_id integer, subject text NOT NULL, PRIMARY KEY (id, month))
  PARTITION BY LIST (month);
CREATE INDEX ON bench_parted_tickets (parent_id);
CREATE TABLE bench_parted_lines (
  ticket_id integer, month integer, number integer, amount bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (ticket_id, month, number),
  FOREIGN KEY (ticket_id, month) REFERENCES bench_parted_tickets ON DELETE CASCADE)
"""
_PICK = rf"""
\set n random(1, :rows)
\set month mod(:n, {PARTITIONS})
"""
_SHOW = """
SELECT t.subject, l.amount FROM bench_parted_tickets t
  JOIN bench_parted_lines l ON l.ticket_id = t.id AND l.month = t.month
 WHERE t.id = :n AND t.month = :month;
"""
_RENAME = """
UPDATE bench_parted_tickets SET subject = 'Ticket :n' WHERE id = :n AND month = :month;
"""
_CHARGE = """
UPDATE bench_parted_lines SET amount = :n
 WHERE ticket_id = :n AND month = :month AND number = 1;
"""
_CREATE = r"""
BEGIN;
INSERT INTO bench_parted_tickets (month, parent_id, subject) VALUES (:month, :n, 'New')
  RETURNING id \gset
INSERT INTO bench_parted_lines (ticket_id, month, number) VALUES (:id, :month, 1), (:id, :month, 2);
COMMIT;
"""
SCRIPTS = by_weight(_PICK, show=_SHOW, rename=_RENAME, charge=_CHARGE, create=_CREATE)


def plan() -> r.Plan:
    return plan_of(KEY, PLAN, "Benchmark, wide ids of a partitioned table")


def load(connection: Connection, rows: int) -> None:
    """So many tickets in the partitions, and as many lines."""
    for statement in _SCHEMA.split(";"):
        connection.execute(statement.encode())
    for month in range(PARTITIONS):
        connection.execute(
            f"CREATE TABLE bench_parted_tickets_{month} PARTITION OF bench_parted_tickets"
            # Truncation after a vacuum takes an exclusive lock that is none of the rollout's.
            f" FOR VALUES IN ({month}) WITH (vacuum_truncate = off)".encode()
        )
    connection.execute("ALTER TABLE bench_parted_lines SET (vacuum_truncate = off)")
    connection.execute(
        "INSERT INTO bench_parted_tickets (month, parent_id, subject)"
        " SELECT mod(n, %s), nullif(n / 2, 0), 'Ticket ' || n FROM generate_series(1, %s) AS n",
        [PARTITIONS, rows],
    )
    connection.execute(
        "INSERT INTO bench_parted_lines (ticket_id, month, number)"
        " SELECT id, month, 1 FROM bench_parted_tickets"
    )
    connection.execute("VACUUM (ANALYZE)")
    connection.execute("CHECKPOINT")
