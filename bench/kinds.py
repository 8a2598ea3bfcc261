"""The command: `python -m bench.kinds`, or `make bench-kinds ROWS=2000000`.

How fast each kind of translation fills the same rows, against a lookup within the same run: the
engine's own loop on one connection, each time on a fresh copy. A round has every kind, so that a
slow moment of the machine meets all of them.

The last line is JSON: {"rows", "kinds": {name: {"rows_per_s", "share", "processor_share",
"rows_made_s"}}}. A share is the speed against the lookup's, the final sweep included; rows of new
tables, mappings and what else the fill reads are made before.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import psutil

from bench.server import Connection, Database, copy_of, create, server
from rollout import plan as r
from rollout.engine import backfill, ddl, lane_totals, lanes, planner
from rollout.engine.control import NullControl
from rollout.engine.target import install
from rollout.plan.actions import Fill, Statement
from rollout.plan.translations import ColumnTranslation

ROWS = 2_000_000
ROUNDS = 3
AT_LEAST = 0.8
"""The share of the lookup's speed that each kind is to reach."""
JOB = 1
POISON_ROWS = 100_000
HOMES = r.Table(
    name="homes",
    key=("id",),
    columns={
        "id": r.Column("bigint", null=False),
        **{
            name: r.Column("text")
            for name in (
                *("city", "price", "odd_price"),
                *("agent_name", "agent_phone", "agent_email"),
                *("owner_name", "owner_phone", "owner_email"),
                "seller",
            )
        },
    },
)
# The numbers that a home's agent and owner are made of; a prime strews them over the table.
TABLE = """
CREATE TABLE homes (
  id bigint PRIMARY KEY, title text NOT NULL, city text, price text, odd_price text,
  agent_name text, agent_phone text, agent_email text,
  owner_name text, owner_phone text, owner_email text, seller text);
INSERT INTO homes SELECT n, 'Listing ' || n || ', bright and renovated, near the park',
  'City ' || n % 20, (100000 + n % 900000) || '.50',
  CASE WHEN n % 10000 = 0 THEN 'on request' ELSE (100000 + n % 900000) || '.50' END,
  'Agent ' || agent, '0800 ' || agent, 'agent' || agent || '@example.test',
  'Owner ' || owner, '0900 ' || owner, 'owner' || owner || '@example.test',
  'Seller ' || owner % ({owners} / 50 + 1)
  FROM (SELECT n, n % 20 AS agent, n::bigint * 7919 % {owners} AS owner
          FROM generate_series(1, {rows}) AS n) AS numbered;
VACUUM (ANALYZE) homes;
CHECKPOINT
"""


def _converted(legacy: str) -> r.Convert:
    return r.Convert(
        table=HOMES,
        legacy=(legacy,),
        columns={f"{legacy}_cents": r.Column("bigint")},
        forward={f"{legacy}_cents": f"round({{{legacy}}}::numeric * 100)"},
        backward={legacy: f"({{{legacy}_cents}} / 100.0)::text"},
    )


def _extracted(whom: str, *legacy: str) -> r.Extract:
    return r.Extract(
        table=HOMES,
        legacy=legacy,
        into=f"{whom}s",
        column=f"{whom}_id",
        key=legacy[-1:],
        id_type="bigint",
    )


LOOKUP = "lookup"
KINDS: dict[str, ColumnTranslation] = {
    LOOKUP: r.Lookup(
        table=HOMES, legacy="city", column="city_id", lookup_table="cities", key="bigint"
    ),
    "convert": _converted("price"),
    "convert, some values do not": _converted("odd_price"),
    "extract, 20 groups": _extracted("agent", "agent_name", "agent_phone", "agent_email"),
    "extract, a group for 100 rows": _extracted("seller", "seller"),
    "extract, a group for two rows": _extracted(
        "owner", "owner_name", "owner_phone", "owner_email"
    ),
}


class Took(NamedTuple):
    """Seconds: of the fill with its sweep, of making what it reads, and of the fill's session alone
    by processor time, which tells more on a machine with other work.
    """

    filling: float
    making: float
    processor: float

    def __str__(self) -> str:
        return f"filled in {self.filling:.2f} s, rows made in {self.making:.2f} s"


def main() -> None:
    arguments = _arguments()
    took: dict[str, list[Took]] = {name: [] for name in KINDS}
    with server() as database:
        template = create(database, "template_homes")
        with template.connect() as connection:
            _say(f"making {arguments.rows:,} rows")
            for statement in _table(arguments.rows):
                connection.execute(statement.encode())
        for _ in range(arguments.rounds):
            for name, translation in KINDS.items():
                with copy_of(template) as copy:
                    took[name].append(_filled(copy, translation, arguments.rows))
                _say(f"{name}: {took[name][-1]}")
    figures = _figures(took, arguments.rows)
    print(f"{arguments.rows:,} rows, median of {arguments.rounds} rounds")
    for name, of_kind in figures.items():
        verdict = "met" if of_kind["share"] >= AT_LEAST else "MISSED"
        print(
            f"{name:<32} {of_kind['rows_per_s']:>10,.0f} rows/s {of_kind['share']:>6.2f} × lookup"
            f"{'' if name == LOOKUP else f', ≥ {AT_LEAST} {verdict}'}; by processor time "
            f"{of_kind['processor_share']:.2f} ×; new rows made in {of_kind['rows_made_s']:.2f} s"
        )
    print(json.dumps({"rows": arguments.rows, "kinds": figures}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.kinds", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table (%(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of all kinds (%(default)s)")
    return parser.parse_args()


def _table(rows: int) -> Iterator[str]:
    # VACUUM wants a statement of its own.
    for statement in TABLE.split(";"):
        yield statement.format(rows=rows, owners=max(1, rows // 2))


def _plan(translation: ColumnTranslation) -> r.Plan:
    """Phases 1 and 2 up to the backfill; the rest has no part in the benchmark."""
    made: tuple[r.Step, ...] = ()
    mapped: tuple[r.Step, ...] = ()
    if isinstance(translation, r.Lookup):
        made = (r.CreateLookupTable(id="table", description="Its table", lookup=translation),)
        mapped = (r.MapLegacyValues(id="map", description="Map the values", table=HOMES),)
    if isinstance(translation, r.Extract):
        made = (r.CreateExtractedTable(id="table", description="Its table", extract=translation),)
    nothing = r.Phase(steps=())
    columns = r.AddColumns(id="columns", description="Columns", table=HOMES, of=(translation,))
    return r.Plan(
        name="bench-kinds",
        title="Benchmark of a kind",
        description="One translation, filled in.",
        tables=(HOMES,),
        translations=(translation,),
        phases=(
            nothing,
            r.Phase(steps=(*made, columns)),
            r.Phase(
                steps=(
                    *mapped,
                    r.StartDualWrite(id="write", description="Dual write", table=HOMES),
                    r.Backfill(id="backfill", description="Fill every row in", table=HOMES),
                )
            ),
            nothing,
            nothing,
        ),
    )


def _filled(copy: Database, translation: ColumnTranslation, rows: int) -> Took:
    plan, filling, making, processor = _plan(translation), 0.0, 0.0, 0.0
    with copy.connect() as connection:
        install(connection)
        session = psutil.Process(connection.info.backend_pid)
        for phase in plan.phases:
            for step in phase.steps:
                for action in plan.forward(step).actions:
                    started = time.perf_counter()
                    if isinstance(action, Fill):
                        before = sum(session.cpu_times()[:2])
                        _fill(connection, action, rows)
                        filling += time.perf_counter() - started
                        processor += sum(session.cpu_times()[:2]) - before
                        continue
                    assert isinstance(action, Statement)
                    ddl.apply(connection, action, NullControl())
                    if isinstance(step, r.MapLegacyValues | r.Backfill):
                        making += time.perf_counter() - started
    return Took(filling, making, processor)


def _fill(connection: Connection, fill: Fill, rows: int) -> None:
    """The engine's loop over every row, to a clean sweep."""
    chosen = planner.choose(connection, fill)
    lanes.create(connection, JOB, fill.table)
    backfill.prepare_session(connection)
    worker = backfill.Worker(
        *(connection, fill),
        stripes=chosen.stripes,
        control=NullControl(),
        most_poison_rows=POISON_ROWS,
    )
    while lane := lanes.claim(connection, JOB, "bench"):
        worker.run_lane(lane, seconds=3600)
    left = backfill.count_unfilled(connection, fill, JOB)
    totals = lane_totals.totals(connection, JOB)
    if left or totals.updated + totals.quarantined != rows:
        raise AssertionError(f"{totals.updated:,} of {rows:,} rows filled, {left:,} left")


def _figures(took: dict[str, list[Took]], rows: int) -> dict[str, dict[str, float]]:
    medians = {
        name: Took(*map(statistics.median, zip(*of_kind, strict=True)))
        for name, of_kind in took.items()
    }
    of_lookup = medians[LOOKUP]
    return {
        name: {
            "rows_per_s": round(rows / of_kind.filling),
            "share": round(of_lookup.filling / of_kind.filling, 3),
            "processor_share": round(of_lookup.processor / max(of_kind.processor, 0.01), 3),
            "rows_made_s": round(of_kind.making, 3),
        }
        for name, of_kind in medians.items()
    }


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; its server and its files are gone.")
