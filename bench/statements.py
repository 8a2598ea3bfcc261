"""What the triggers cost a single statement: an insert and two updates, with and without them.

One session executes them, each in its own transaction, which waits for no disk. The stages take
turns, so that whatever else the machine does falls on all of them alike.
"""

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql

from bench.rollout import PLANS
from bench.server import Connection, Database, copy_of
from rollout.plan import Plan
from rollout.plan.conversion_lines import Stage
from rollout.plan.transition import triggers

WITHOUT = "no triggers"
STAGES: dict[str, Stage | None] = {
    WITHOUT: None,
    "before the cutover": "forward",
    "after the cutover": "reverse",
    "legacy frozen": "frozen",
}
COLUMNS = {"text": ("type", "status"), "keys": ("type_id", "status_id")}
"""What each kind of writer writes."""
STATEMENTS = ("insert", "update", "other update")
"""The second update changes none of the plan's columns."""
ROUNDS, WARM_UP = 20, 5
PRICES = range(1_000_000)

_INSERT = """
INSERT INTO listings (title, description, address, city, postal_code, created_at, updated_at, {})
VALUES ('A listing', 'High ceilings', '1 Main St', 'Queens', '11101', now(), now(), %s, %s)
"""
_UPDATE = "UPDATE listings SET {} = %s WHERE id = %s"

Figures = dict[str, float]


def measure(template: Database, key: str, times_each: int) -> dict[str, dict[str, Figures]]:
    """For each writer in each stage, and each statement: p50 and p99 in ms."""
    timed = -(-times_each // ROUNDS)
    plan = PLANS[key]
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    with copy_of(template) as database, database.connect() as connection:
        connection.execute("SET synchronous_commit = off")
        values = _values(connection)
        keys = [row[0] for row in connection.execute("SELECT id FROM listings LIMIT 5000")]
        # As after the backfill: a row that is not filled in makes every update write.
        connection.execute("UPDATE listings SET status = status WHERE id = ANY (%s)", [keys])
        chance = random.Random(1)
        for _ in range(ROUNDS):
            for stage in STAGES:
                _enter(connection, plan, STAGES[stage])
                for writer in _writers(STAGES[stage]):
                    for statement in STATEMENTS:
                        run = _Run(connection, writer, values[writer], keys, chance)
                        times[f"{writer}, {stage}", statement] += run.times(statement, timed)
    figures: dict[str, dict[str, Figures]] = defaultdict(dict)
    for (name, statement), taken in times.items():
        taken.sort()
        figures[name][statement] = {
            "p50_ms": taken[len(taken) // 2],
            "p99_ms": taken[len(taken) * 99 // 100],
        }
    return dict(figures)


def lines_of(figures: dict[str, dict[str, Figures]]) -> Iterator[str]:
    """The table, as text: ms, and how many times those without triggers."""
    if not figures:
        return
    columns = [f"{statement} {p}" for statement in STATEMENTS for p in ("p50", "p99")]
    width = max(map(len, figures))
    yield f"{'ms':<{width}}  " + "  ".join(f"{column:>16}" for column in columns)
    for name, of_name in figures.items():
        base = figures[f"{name.partition(',')[0]}, {WITHOUT}"]
        cells = [
            f"{of_name[statement][p]:.2f} (× {of_name[statement][p] / base[statement][p]:.1f})"
            for statement in STATEMENTS
            for p in ("p50_ms", "p99_ms")
        ]
        yield f"{name:<{width}}  " + "  ".join(f"{cell:>16}" for cell in cells)


def _writers(stage: Stage | None) -> Iterator[str]:
    for writer in COLUMNS:
        # Once the texts are frozen, a writer of text is refused.
        if (writer, stage) != ("text", "frozen"):
            yield writer


def _values(connection: Connection) -> dict[str, tuple[list[Any], list[Any]]]:
    """What a writer writes for type and status: spellings that are mapped, and lookup rows."""

    def column(query: LiteralString) -> list[Any]:
        return [row[0] for row in connection.execute(query)]

    return {
        "text": (
            column("SELECT DISTINCT type FROM listings WHERE type IS NOT NULL"),
            column("SELECT DISTINCT status FROM listings WHERE status IS NOT NULL"),
        ),
        "keys": (
            column("SELECT id FROM listing_types"),
            column("SELECT id FROM listing_statuses"),
        ),
    }


def _enter(connection: Connection, plan: Plan, stage: Stage | None) -> None:
    (table,) = plan.tables
    of_table = triggers(plan, table)
    connection.execute((of_table.install(stage) if stage else of_table.remove()).sql)


@dataclass(frozen=True)
class _Run:
    """One writer's statements, one after the other."""

    connection: Connection
    writer: str
    values: tuple[list[Any], list[Any]]
    keys: list[Any]
    chance: random.Random

    def times(self, statement: str, number: int) -> list[float]:
        """How long each took, in ms. The first, which plan the trigger's queries, are left out."""
        type_, status = map(sql.Identifier, COLUMNS[self.writer])
        text = {
            "insert": sql.SQL(_INSERT).format(sql.SQL("{}, {}").format(type_, status)),
            "update": sql.SQL(_UPDATE).format(status),
            "other update": sql.SQL(_UPDATE).format(sql.Identifier("price")),
        }[statement]
        taken = []
        for _ in range(WARM_UP + number):
            params = self._params(statement)
            started = time.perf_counter()
            self.connection.execute(text, params, prepare=True)
            taken.append((time.perf_counter() - started) * 1000)
        return taken[WARM_UP:]

    def _params(self, statement: str) -> tuple[Any, Any]:
        types, statuses = self.values
        if statement == "insert":
            return self.chance.choice(types), self.chance.choice(statuses)
        key = self.chance.choice(self.keys)
        return self.chance.choice(statuses if statement == "update" else PRICES), key
