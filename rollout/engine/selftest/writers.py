"""Writers during a self-test's audits: connections of their own that write as applications do."""

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from rollout.engine.quarantine import is_row
from rollout.engine.target import Connection, Target
from rollout.plan.names import in_target, normal
from rollout.plan.plan import Plan
from rollout.plan.table import Table
from rollout.plan.translations import Lookup

Key = tuple[str, ...]


class Writes:
    """Transactions that the writers have committed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        self.begun = threading.Event()
        """Set with the first of them."""

    def one_more(self) -> None:
        with self._lock:
            self.count += 1
        self.begun.set()


@contextmanager
def writing(
    copy: Target, plan: Plan, rows: Mapping[str, Sequence[Key]], *, writers: int, seed: int
) -> Iterator[Writes]:
    """Run ``writers`` concurrent writers per table for the duration of the block.

    They only write what leaves a row right, so whatever an audit says against such a row is false.
    Raises the error that a writer failed with.
    """
    writes, enough = Writes(), threading.Event()
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with copy.connect() as connection:
                chance = random.Random(seed + number)
                writer = _Writer(connection, plan, rows, chance)
                while not enough.is_set():
                    writer.write()
                    writes.one_more()
        except BaseException as failure:
            failures.append(failure)
            writes.begun.set()

    threads = [threading.Thread(target=write, args=[n], daemon=True) for n in range(writers)]
    for thread in threads:
        thread.start()
    try:
        if threads:
            writes.begun.wait()
        yield writes
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


class _Writer:
    """One connection's writes, over and over."""

    def __init__(
        self,
        connection: Connection,
        plan: Plan,
        rows: Mapping[str, Sequence[Key]],
        chance: random.Random,
    ) -> None:
        self.connection, self.plan, self.chance = connection, plan, chance
        connection.execute("SET synchronous_commit = off")
        self.tables = [(t, rows[t.label]) for t in plan.audited_tables if rows.get(t.label)]
        self.texts = {
            lookup: texts_of(connection, plan, lookup)
            for table, _ in self.tables
            for lookup in plan.lookups_of(table)
        }
        self.done = 0

    def write(self) -> None:
        """One transaction, committed or rolled back."""
        if not self.tables:
            return
        table, keys = self.chance.choice(self.tables)
        batch = self.chance.sample(list(keys), k=min(3, len(keys)))
        self.done += 1
        try:
            with self.connection.transaction(force_rollback=self.done % 7 == 0):
                for key in batch:
                    self._write_row(table, key)
        except psycopg.errors.DeadlockDetected:
            # Deadlock with another writer; retry, as an application does.
            return

    def _write_row(self, table: Table, key: Key) -> None:
        lookups = self.plan.lookups_of(table)
        if not lookups or self.chance.random() < 0.2:
            self._replace(table, key)
            return
        lookup = self.chance.choice(lookups)
        text = self.chance.choice(self.texts[lookup])
        if self.chance.random() < 0.1:
            text = f"Yq {self.chance.randrange(40)}"
        self.connection.execute(
            sql.SQL("UPDATE {} AS t SET {} = {} WHERE {}").format(
                table.identifier,
                sql.Identifier(lookup.legacy),
                sql.Literal(text),
                is_row(table, key),
            )
        )

    def _replace(self, table: Table, key: Key) -> None:
        """Take a row away and put it back elsewhere in the table."""
        self.connection.execute(
            sql.SQL(
                "WITH gone AS (DELETE FROM {table} AS t WHERE {row} RETURNING *)"
                " INSERT INTO {table} SELECT * FROM gone"
            ).format(table=table.identifier, row=is_row(table, key))
        )


def texts_of(copy: Connection, plan: Plan, lookup: Lookup) -> Sequence[str | None]:
    """Legacy texts of the copy that mean a lookup row, for writers to write."""
    rows = copy.execute(
        sql.SQL("SELECT legacy FROM {} WHERE lookup_id IS NOT NULL AND {} NOT LIKE 'zq%'").format(
            in_target(lookup.mapping_name(plan.name)), normal(sql.Identifier("legacy"))
        )
    ).fetchall()
    return [None, *(text for (text,) in rows)]
