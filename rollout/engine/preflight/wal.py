"""How much a backfill writes to the WAL, and how often that brings a checkpoint on."""

import math

from rollout.engine import wal_compression
from rollout.engine.preflight.item import Item, Scope, one_row, size_text
from rollout.engine.preflight.server import size_of
from rollout.engine.target import Connection

# What a fill writes for each byte of its table: 2,000,000 rows with three indexes wrote 2.2.
WAL_SHARE = 2.2
# A checkpoint begins when this share of max_wal_size is written: the checkpoint before it and half
# of the time until the next have to fit.
CHECKPOINT_SHARE = 1 / 1.9
GIGABYTE = 1024**3
# A crash has to replay it, and the disk has to hold it.
LARGEST = 16 * GIGABYTE
LONGEST_SECONDS = 900


def checkpoints(connection: Connection, scope: Scope) -> Item:
    """Checkpoints that the phase's WAL forces: the application's commits wait for their writes."""
    name = "checkpoints"
    tables = {action.table.identifier.as_string() for action in scope.passes}
    wal = round(WAL_SHARE * sum(size_of(connection, table) for table in tables))
    size, timeout = one_row(
        connection,
        """
        SELECT pg_size_bytes(current_setting('max_wal_size')),
               extract(epoch FROM current_setting('checkpoint_timeout')::interval)::integer
        """,
    )
    number = math.ceil(wal / (size * CHECKPOINT_SHARE))
    evidence = (
        f"The phase writes about {size_text(wal)} of WAL; max_wal_size is {size_text(size)}, "
        f"checkpoint_timeout {timeout:,} s."
    )
    wanted = min(math.ceil(wal / CHECKPOINT_SHARE / GIGABYTE) * GIGABYTE, LARGEST)
    if number <= 1 or size >= wanted:
        return Item(name, "pass", evidence)
    settings = [f"max_wal_size = '{wanted // GIGABYTE}GB'"]
    if timeout < LONGEST_SECONDS:
        settings.append(f"checkpoint_timeout = '{LONGEST_SECONDS // 60}min'")
    statements = "; ".join(f"ALTER SYSTEM SET {setting}" for setting in settings)
    return Item(
        name,
        "warns",
        f"{evidence} This forces about {number:,} checkpoints, during which commits are slower.",
        f"Until the phase has ended: {statements}; SELECT pg_reload_conf(). "
        "The disk must have room for that much WAL, and recovery after a crash takes longer.",
    )


def compression(connection: Connection, scope: Scope) -> Item:
    """Whether the full pages among it are compressed, and who may decide that."""
    name = "WAL compression"
    now = wal_compression.read(connection)
    if now.is_on:
        evidence = f"The server compresses full pages (wal_compression = {now.setting})."
        return Item(name, "pass", evidence)
    if now.method is None:
        return Item(name, "pass", "Before PostgreSQL 15, only superusers compress their own WAL.")
    when = "" if now.method == wal_compression.CHEAP else " while other sessions write"
    if now.may_set:
        return Item(
            name, "pass", f"Rollout's sessions compress full pages with {now.method}{when}."
        )
    (role,) = one_row(connection, "SELECT quote_ident(current_user)")
    return Item(
        name,
        "info",
        "Full pages go to the WAL uncompressed.",
        f"GRANT SET ON PARAMETER wal_compression TO {role}: Rollout's sessions then use "
        f"{now.method}{when}, which writes about a quarter less.",
    )
