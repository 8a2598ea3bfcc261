"""kill -9 of whoever fills the rows, at a third of them: what is done twice, what is lost."""

import time
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from bench.loops.base import Copy
from bench.peers.writers import Make, ready
from bench.server import Connection, Database, copy_of

POLL_SECONDS = 0.05
# Without a write for so long something is wrong: no recovery here takes that.
PATIENCE_SECONDS = 120
# Rows, half a batch of the peers': a kill between two batches would cost nothing.
PAST_A_CHECKPOINT = 250
# A sequence counts what is rolled back too; the table what was committed. Whoever makes the write
# at which the kill is due waits there for it.
COUNTER = """
CREATE SEQUENCE writes;
CREATE TABLE written (id uuid NOT NULL);
CREATE TABLE halted AS SELECT true AS is_halted;
CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
  IF nextval('writes') = {due} THEN
    WHILE EXISTS (SELECT FROM halted) LOOP PERFORM pg_sleep(0.01); END LOOP;
  END IF;
  INSERT INTO written VALUES (NEW.id);
  RETURN NULL;
END $$;
CREATE TRIGGER counted AFTER UPDATE ON listings FOR EACH ROW EXECUTE FUNCTION count_write()
"""


class NotWriting(Exception):
    """Nothing was written for longer than any recovery takes."""


@dataclass(frozen=True)
class Outcome:
    """What a kill -9 cost, in rows, and how long nothing was written after it."""

    done_again: int
    """Written once more, counting what the kill rolled back."""
    committed_twice: int
    lost: int
    """Not filled at the end."""
    seconds_without_writes: float
    recovery: str

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "seconds_without_writes": round(self.seconds_without_writes, 1)}


def killed(template: Database, key: str, rows: int, make: Make) -> Outcome:
    """Kill a writer on a copy of its own, let it continue, and count."""
    with copy_of(template) as database, database.connect() as connection:
        copy = Copy(database, key, rows)
        with ready(make, copy) as writer:
            due = rows // 3 + PAST_A_CHECKPOINT
            connection.execute(COUNTER.format(due=due).encode())
            writer.start(rows)
            _await_writes(connection, due)
            writer.kill()
            connection.execute("DELETE FROM halted")
            killed_at, written = time.monotonic(), _await_quiet(connection)
            writer.resume()
            _await_writes(connection, written + 1)
            paused = time.monotonic() - killed_at
            writer.work(PATIENCE_SECONDS * 100)
        left = _number(connection, copy.fill.unfilled(sql.SQL("true")))
        committed = _number(connection, sql.SQL("SELECT count(*) FROM written"))
        distinct = _number(connection, sql.SQL("SELECT count(DISTINCT id) FROM written"))
        return Outcome(
            done_again=_writes(connection) - distinct,
            committed_twice=committed - distinct,
            lost=left,
            seconds_without_writes=paused,
            recovery=writer.recovery,
        )


def _await_quiet(connection: Connection) -> int:
    """How many writes there are once the killed client's session has noticed its end."""
    written = _writes(connection)
    while True:
        time.sleep(10 * POLL_SECONDS)
        if (now := _writes(connection)) == written:
            return now
        written = now


def _await_writes(connection: Connection, number: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _writes(connection) < number:
        if time.monotonic() > deadline:
            raise NotWriting(f"{_writes(connection):,} writes after {PATIENCE_SECONDS} s")
        time.sleep(POLL_SECONDS)


def _writes(connection: Connection) -> int:
    return _number(
        connection, sql.SQL("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM writes")
    )


def _number(connection: Connection, query: sql.SQL | sql.Composed) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
