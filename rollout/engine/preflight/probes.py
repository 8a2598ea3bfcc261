"""The list of probes: what to ask of a database before which phase.

A new probe is a function ``(connection, scope) -> Item`` and a row of ``PROBES``. What a step asks
of its own data belongs to the step (``Step.hazards``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from rollout.engine.preflight import (
    expressions,
    functions,
    key_ranges,
    server,
    sessions,
    shapes,
    spellings,
    tables,
    triggers,
    wal,
    whole_tables,
)
from rollout.engine.preflight.item import Item, Scope
from rollout.engine.target import Connection
from rollout.plan.plan import BACKFILL, CONTRACT, ENFORCE, EXPAND, PREPARE

EVERY = frozenset({PREPARE, EXPAND, BACKFILL, ENFORCE, CONTRACT})


class Lifetime(Enum):
    """How long the answer of a probe is good for."""

    MOMENT = "moment"
    """Sessions, locks, load: asked of the phase that is next, and again when it starts."""
    CHANGES = "changes"
    """A phase or a release may change it on the way: readiness lists it, its own phase blocks."""
    STAYS = "stays"
    """Only people change it: what blocks a later phase blocks phase 0 already."""
    STAYS_FOR_ALL = "stays for all"
    """The same, and the answer does not depend on the phase: asked once for all of them."""


@dataclass(frozen=True)
class Probe:
    """A question, the phases that its answer is about, and how long that is good for.

    ``ask`` is called for each phase that its answer may differ in, which ``scope.phase`` names, in
    a transaction of its own, read-only unless it ``tries_writes``, which are rolled back. Whatever
    psycopg.Error it raises makes the item unknown.
    """

    name: str
    ask: Callable[[Connection, Scope], Item]
    phases: frozenset[int]
    lifetime: Lifetime
    tells_load: bool = False
    """Whether it tells how much a server has to do already."""
    tries_writes: bool = False


PROBES: tuple[Probe, ...] = (
    # The server and the rollout's role.
    Probe("server version", server.version, EVERY, Lifetime.STAYS_FOR_ALL),
    Probe("writes", server.writable, EVERY, Lifetime.STAYS_FOR_ALL),
    Probe("rights", server.rights, EVERY, Lifetime.STAYS),
    Probe("encoding", server.encoding, EVERY, Lifetime.STAYS_FOR_ALL),
    Probe("row security", server.row_security, EVERY, Lifetime.STAYS_FOR_ALL),
    Probe("free disk", server.disk, EVERY, Lifetime.CHANGES),
    Probe("replication lag", server.replication, EVERY, Lifetime.MOMENT, True),
    Probe("checkpoints", wal.checkpoints, frozenset({BACKFILL}), Lifetime.CHANGES),
    Probe("WAL compression", wal.compression, frozenset({BACKFILL}), Lifetime.CHANGES),
    # Other sessions.
    Probe("long transactions", sessions.long_transactions, EVERY, Lifetime.MOMENT, True),
    Probe("idle in transaction", sessions.idle_in_transaction, EVERY, Lifetime.MOMENT, True),
    Probe("prepared transactions", sessions.prepared_transactions, EVERY, Lifetime.MOMENT),
    Probe("ungranted locks", sessions.waiting_locks, EVERY, Lifetime.MOMENT, True),
    Probe("vacuum against wraparound", sessions.wraparound_vacuum, EVERY, Lifetime.MOMENT, True),
    Probe("autovacuum", sessions.autovacuum, EVERY - {PREPARE}, Lifetime.CHANGES),
    # The tables, and what hangs on them.
    Probe(whole_tables.NAME, whole_tables.statements, EVERY, Lifetime.CHANGES),
    Probe(tables.SCHEMA_DRIFT, tables.schema_drift, EVERY, Lifetime.MOMENT),
    Probe("kinds of tables", shapes.kinds_of_tables, EVERY, Lifetime.STAYS_FOR_ALL),
    Probe("rules", shapes.rules, EVERY, Lifetime.STAYS_FOR_ALL),
    Probe("collations", shapes.collations, EVERY, Lifetime.STAYS_FOR_ALL),
    Probe("types of legacy columns", shapes.text_types, EVERY, Lifetime.STAYS_FOR_ALL),
    Probe("types without equality", shapes.comparisons, EVERY, Lifetime.STAYS_FOR_ALL),
    Probe(key_ranges.NAME, key_ranges.ranges, EVERY, Lifetime.STAYS_FOR_ALL),
    Probe("invalid indexes", tables.invalid_indexes, EVERY, Lifetime.MOMENT),
    Probe("other triggers", tables.other_triggers, EVERY, Lifetime.CHANGES),
    Probe(
        *("order of triggers", triggers.order),
        *(frozenset({BACKFILL, ENFORCE}), Lifetime.CHANGES),
    ),
    Probe(
        *("triggers of legacy columns", triggers.of_legacy_columns),
        *(frozenset({ENFORCE}), Lifetime.CHANGES),
    ),
    Probe(
        *("triggers that can swallow updates", triggers.swallowing),
        *(frozenset({BACKFILL}), Lifetime.CHANGES),
    ),
    Probe("dependent views, functions and policies", tables.dependents, EVERY, Lifetime.CHANGES),
    Probe("functions that copy whole rows", functions.whole_rows, EVERY, Lifetime.STAYS),
    Probe("functions that return rows", functions.returned_rows, EVERY, Lifetime.STAYS),
    Probe(
        "functions that name dropped columns", functions.dropped_columns, EVERY, Lifetime.CHANGES
    ),
    Probe(
        *("lookup rows that legacy columns cannot hold", spellings.impossible_texts),
        *(frozenset({ENFORCE}), Lifetime.CHANGES),
    ),
    Probe(
        *("texts too long for a lookup row", spellings.long_texts),
        *(frozenset({EXPAND, BACKFILL}), Lifetime.CHANGES),
    ),
    Probe(
        *("lookup rows that the lookup table refuses", spellings.refused_names),
        *(frozenset({BACKFILL}), Lifetime.CHANGES),
        tries_writes=True,
    ),
    Probe(
        *("lookup rows of new texts", spellings.new_texts),
        *(frozenset({BACKFILL, ENFORCE}), Lifetime.MOMENT),
    ),
    # Over the rows there are, which change: asked before every phase that writes or is next.
    Probe(expressions.NAME, expressions.expressions, EVERY, Lifetime.MOMENT),
    Probe("publications", tables.publications, EVERY, Lifetime.CHANGES),
)


def of_phase(phase: int) -> tuple[Probe, ...]:
    return tuple(probe for probe in PROBES if phase in probe.phases)
