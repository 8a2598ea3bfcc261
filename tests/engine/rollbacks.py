"""A plan that is rolled back, and the proofs that nothing was lost."""

from typing import Any

from psycopg import sql

from rollout.engine import backfill, lanes, quarantine
from rollout.engine.mapping import Decision, decide
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Action, Fill
from rollout.plan.archives import archive_name
from rollout.plan.names import in_target
from rollout.plan.proofs import Proof
from rollout.plan.translations import Lookup
from tests.engine.actions import do_phase, new_job, work_off
from tests.engine.samples import BIGINT, Sample

PLAN = BIGINT.plan
KINDS = ("House", "h", "Apt", " h ", "flat", "FLAT", None, "", "\u00a0H", "ｈ", "a'; --")
Rows = dict[Any, dict[str, Any]]


def decided(
    connection: Connection,
    text: str,
    name: str | None,
    *,
    sample: Sample = BIGINT,
    lookup: Lookup | None = None,
) -> None:
    """What a person decides about a text; no row follows yet."""
    decide(
        connection,
        sample.plan,
        lookup or sample.kind,
        {text: Decision(name=name)},
        reviewer="ada",
        keep=True,
    )


def rows_of(connection: Connection, sample: Sample = BIGINT) -> Rows:
    """Every row with all its columns, by its key."""
    rows = connection.execute(
        sql.SQL("SELECT {}::text, to_jsonb(t) FROM {} AS t").format(
            sample.table.key_texts("t"), sample.table.identifier
        )
    ).fetchall()
    return dict(rows)


def way_back(of: Sample = BIGINT) -> list[Action]:
    """The actions of the way back that bring the legacy columns and their texts."""
    return list(of.plan.backward(of.plan.step(4, "drop")).actions)


def carried_over(target: Target, connection: Connection, sample: Sample = BIGINT) -> None:
    """Rows of many spellings, carried up to the cutover; then people decide on two of them."""
    sample.create(connection)
    for number, kind in enumerate(KINDS):
        sample.insert(connection, number, kind=kind, state="open")
    for number in range(4):
        do_phase(target, connection, sample.plan, number)
    decided(connection, "h", "House", sample=sample)
    decided(connection, "apt", "Flat", sample=sample)


def proofs() -> list[Proof]:
    """That the archive is whole, and that all texts are back."""
    return [action for action in way_back() if isinstance(action, Proof)]


def differing(connection: Connection, proof: Proof) -> dict[tuple[str, ...], str]:
    """The rows that a proof finds to differ, and how."""
    job, stripes = new_job(connection, proof)
    totals = work_off(connection, proof, job, stripes)
    named = {row.key: row.error for row in quarantine.rows(connection, job)}
    assert totals.quarantined == len(named)
    return named


ARCHIVE = in_target(archive_name(PLAN, BIGINT.table))


def in_rounds(connection: Connection, fill: Fill) -> None:
    """As a job goes over a table that is written to: what moved is met in another round."""
    job, stripes = new_job(connection, fill)
    for _ in range(10):
        work_off(connection, fill, job, stripes)
        if backfill.count_unfilled(connection, fill, job) == 0:
            return
        lanes.another_round(connection, job, fill.table)
    raise AssertionError("rows remain after ten rounds")


def many(connection: Connection, rows: int) -> None:
    """Rows that an application wrote which knows no legacy column."""
    connection.execute(
        "INSERT INTO things (id, kind_id, is_open)"
        " SELECT 1000 + n, (SELECT min(id) FROM kinds), false FROM generate_series(0, %s) AS n",
        [rows - 1],
    )
