"""The archive of legacy texts: filled in batches beside writers, whole before it is used."""

import pytest
from psycopg import sql

from rollout.engine import copy_batches, lane_positions, lanes
from rollout.engine.target import Connection, Target
from rollout.plan.archives import DIGEST, digest, fingerprint
from rollout.plan.copies import Copy
from rollout.plan.proofs import Proof
from tests.engine.actions import (
    act,
    do_step,
    new_job,
    prove,
    undo_phase,
    work_off,
    work_off_with_stops,
)
from tests.engine.rollbacks import ARCHIVE, KINDS, PLAN, carried_over, differing, rows_of
from tests.engine.samples import BIGINT
from tests.engine.things import writing

STEP = PLAN.step(4, "archive")
CREATE, _copy, RENAME, _proof = PLAN.forward(STEP).actions
assert isinstance(_copy, Copy)
assert isinstance(_proof, Proof)
COPY, PROOF = _copy, _proof
MANY = 2000
# What the archive was made by before it was a pass.
AT_ONCE = """
CREATE TABLE {archive} AS SELECT t.id, t.kind, t.kind_id, t.state, t.state_id, {digest} AS {name}
  FROM things AS t;
ALTER TABLE {archive} ADD PRIMARY KEY (id)
"""


@pytest.fixture
def frozen(target: Target, connection: Connection) -> Connection:
    """A table of many pages whose texts are frozen, and the empty archive."""
    carried_over(target, connection)
    connection.execute(
        "INSERT INTO things (id, kind_id, kind, is_open) SELECT 1000 + n, kind_id, kind, false"
        " FROM things, generate_series(1, %s) AS n WHERE id = 4",
        [MANY],
    )
    do_step(target, connection, PLAN, 4, PLAN.step(4, "freeze"))
    return connection


def recorded(connection: Connection) -> tuple[str, str]:
    """The fingerprint that was written down, and the one that the archive has."""
    row = connection.execute(
        sql.SQL("SELECT obj_description({}::regclass, 'pg_class'), {}").format(
            sql.Literal(ARCHIVE.as_string()), fingerprint(ARCHIVE)
        )
    ).fetchone()
    assert row is not None
    return row


def lacking(connection: Connection) -> int:
    """The rows of the table that are not in the archive as they are in the table."""
    row = connection.execute(
        sql.SQL(
            "SELECT count(*) FROM things AS t WHERE NOT EXISTS (SELECT FROM {} AS a"
            " WHERE ROW(a.id, a.kind, a.kind_id, a.state, a.state_id)"
            " IS NOT DISTINCT FROM ROW(t.id, t.kind, t.kind_id, t.state, t.state_id))"
        ).format(ARCHIVE)
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_an_archive_that_is_interrupted_again_and_again_has_every_row_once(
    frozen: Connection, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "FIRST_RANGE_BLOCKS", 1)
    monkeypatch.setattr(lane_positions, "MAX_RANGE_BLOCKS", 1)
    act(target, frozen, PLAN, 4, CREATE)
    job, stripes = new_job(frozen, COPY)
    totals = work_off_with_stops(frozen, COPY, job, stripes)
    assert copy_batches.complete(frozen, COPY, job)
    rows = MANY + len(KINDS)
    assert (totals.scanned, totals.updated, totals.rewritten, totals.exact) == (rows, rows, 0, rows)
    act(target, frozen, PLAN, 4, RENAME)
    written, now = recorded(frozen)
    assert written == now
    assert now.startswith(f"{rows} rows, ")
    assert prove(frozen, PROOF).exact == rows
    assert lacking(frozen) == 0


def test_a_row_that_no_batch_has_met_is_copied_at_the_end(
    frozen: Connection, target: Target
) -> None:
    act(target, frozen, PLAN, 4, CREATE)
    job, stripes = new_job(frozen, COPY)
    work_off(frozen, COPY, job, stripes)
    BIGINT.insert(frozen, 9000, kind_id=1, is_open=False)
    assert copy_batches.complete(frozen, COPY, job)
    act(target, frozen, PLAN, 4, RENAME)
    written, now = recorded(frozen)
    assert written == now
    assert lacking(frozen) == 0


def test_many_rows_that_no_batch_has_met_are_left_to_another_round(
    frozen: Connection, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_batches, "MAX_LATE_ROWS", 5)
    act(target, frozen, PLAN, 4, CREATE)
    job, _ = new_job(frozen, COPY)
    assert not copy_batches.complete(frozen, COPY, job)


@pytest.mark.slow
def test_an_archive_that_is_made_beside_writers_brings_every_text_back(
    frozen: Connection, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "FIRST_RANGE_BLOCKS", 1)
    monkeypatch.setattr(lane_positions, "MAX_RANGE_BLOCKS", 2)
    before = rows_of(frozen)
    with writing(
        target,
        # To and fro between two lookup rows, and to other pages.
        "UPDATE things SET kind_id = CASE kind_id WHEN 1 THEN 2 ELSE 1 END"
        " WHERE id = 1000 + (%(n)s * 7) %% 200",
        "UPDATE things SET note = repeat('wide', 300) WHERE id = 1200 + (%(n)s * 3) %% 400",
        "INSERT INTO things (id, kind_id, is_open) SELECT 5000 + %(n)s, min(id), false FROM kinds",
        "DELETE FROM things WHERE id = 5000 + %(n)s - 5",
    ):
        for action in (CREATE, COPY, RENAME, PROOF):
            act(target, frozen, PLAN, 4, action)
        for step in PLAN.phases[4].steps[2:]:
            do_step(target, frozen, PLAN, 4, step)
    undo_phase(target, frozen, PLAN, 4)
    after = rows_of(frozen)
    untouched = [key for key in before if not 1000 <= int(key.strip("{}")) < 1200]
    assert {key: after[key]["kind"] for key in untouched} == {
        key: before[key]["kind"] for key in untouched
    }


def test_a_row_that_would_not_get_its_text_back_stops_the_phase_before_the_drop(
    frozen: Connection, target: Target
) -> None:
    for action in (CREATE, COPY, RENAME):
        act(target, frozen, PLAN, 4, action)
    frozen.execute(sql.SQL("UPDATE {} SET kind = 'Hut' WHERE id = 1").format(ARCHIVE))
    frozen.execute(sql.SQL("DELETE FROM {} WHERE id = 3").format(ARCHIVE))
    assert differing(frozen, PROOF) == {
        ("1",): "the archive has another text or lookup row than when it was made",
        ("3",): "kind is ' h ', archived as 'h'",
    }


def test_an_archive_that_was_made_by_one_statement_is_kept_and_restored_from(
    frozen: Connection, target: Target
) -> None:
    before = rows_of(frozen)
    frozen.execute(
        sql.SQL(AT_ONCE).format(
            archive=ARCHIVE, digest=digest(PLAN, BIGINT.table, "t"), name=sql.Identifier(DIGEST)
        )
    )
    _, fingerprint_now = recorded(frozen)
    frozen.execute(
        sql.SQL("COMMENT ON TABLE {} IS {}").format(ARCHIVE, sql.Literal(fingerprint_now))
    )
    for step in PLAN.phases[4].steps[1:]:
        do_step(target, frozen, PLAN, 4, step)
    undo_phase(target, frozen, PLAN, 4)
    assert rows_of(frozen) == before


def test_a_phase_that_is_done_over_again_finds_its_archive_made(
    frozen: Connection, target: Target
) -> None:
    do_step(target, frozen, PLAN, 4, STEP)
    assert not any(act(target, frozen, PLAN, 4, action) for action in (CREATE, COPY, RENAME))
