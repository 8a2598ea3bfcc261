"""What a rollback proves of every row before it counts as done."""

import pytest
from psycopg import sql

from rollout.engine import lane_positions, lanes, quarantine
from rollout.engine.target import Connection, Target, own_transaction
from rollout.plan.actions import Fill
from rollout.plan.archives import archive_name
from tests.engine.actions import (
    act,
    do_phase,
    new_job,
    prove,
    work_off,
    work_off_with_stops,
)
from tests.engine.rollbacks import (
    ARCHIVE,
    KINDS,
    PLAN,
    carried_over,
    differing,
    in_rounds,
    many,
    proofs,
    rows_of,
    way_back,
)
from tests.engine.samples import BIGINT
from tests.engine.things import writing


class TestProofs:
    @pytest.fixture(autouse=True)
    def in_the_last_phase(self, target: Target, connection: Connection) -> None:
        carried_over(target, connection)
        do_phase(target, connection, PLAN, 4)

    @pytest.mark.parametrize(
        "tampering",
        [
            "SET kind = 'House'",
            "SET kind = NULL",
            "SET kind = 'H'",
            "SET kind = 'h '",
            "SET kind_id = kind_id + 1",
            "SET state_id = NULL",
        ],
    )
    def test_a_row_of_the_archive_that_somebody_changed_is_named(
        self, tampering: str, connection: Connection
    ) -> None:
        change = sql.SQL("UPDATE {} {} WHERE id = 1").format(ARCHIVE, sql.SQL(tampering))
        connection.execute(change)
        assert differing(connection, proofs()[0]) == {
            ("1",): "the archive has another text or lookup row than when it was made"
        }

    @pytest.mark.parametrize(
        "tampering", ["DELETE FROM {} WHERE id = 1", "INSERT INTO {} VALUES (99)"]
    )
    def test_a_row_that_the_archive_lost_or_gained_shows_in_its_fingerprint(
        self, tampering: str, connection: Connection
    ) -> None:
        connection.execute(sql.SQL(tampering).format(ARCHIVE))
        with pytest.raises(AssertionError):
            prove(connection, proofs()[0])

    def test_a_row_of_the_archive_that_somebody_has_seen_to_by_hand_is_taken(
        self, connection: Connection
    ) -> None:
        connection.execute(
            sql.SQL("UPDATE {} SET kind = 'h', rollout_digest = NULL WHERE id = 1").format(ARCHIVE)
        )
        connection.execute(sql.SQL("COMMENT ON TABLE {} IS NULL").format(ARCHIVE))
        assert differing(connection, proofs()[0]) == {}

    def test_rows_are_compared_to_the_letter_or_by_their_lookup_row(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        BIGINT.update(app, 3, kind_id=BIGINT.lookup_id(app, "Castle"))
        BIGINT.insert(app, 50, kind_id=BIGINT.lookup_id(app, "Castle"), is_open=False)
        for action in way_back():
            act(target, connection, PLAN, 4, action)
        totals = prove(connection, proofs()[-1])
        assert (totals.scanned, totals.exact) == (len(KINDS) + 1, len(KINDS) - 1)

    def test_a_row_is_looked_up_in_the_archive_by_its_key(
        self, target: Target, connection: Connection
    ) -> None:
        for action in way_back():
            act(target, connection, PLAN, 4, action)
        question = proofs()[-1].compared(sql.SQL("true"))
        with connection.transaction():
            connection.execute("SET LOCAL enable_seqscan = off")
            plan = connection.execute(sql.SQL("EXPLAIN {}").format(question)).fetchall()
        scans = [line for (line,) in plan if archive_name(PLAN, BIGINT.table) in line]
        assert scans
        assert not [line for line in scans if "Seq Scan" in line]

    @pytest.mark.parametrize("spelling", ["H", "h ", "House", "", None])
    def test_a_text_that_is_another_than_the_archive_s_is_named(
        self, spelling: str | None, target: Target, connection: Connection
    ) -> None:
        for action in way_back():
            act(target, connection, PLAN, 4, action)
        with own_transaction(connection):
            BIGINT.update(connection, 1, kind=spelling)
        has = "NULL" if spelling is None else f"'{spelling}'"
        assert differing(connection, proofs()[-1]) == {("1",): f"kind is {has} instead of 'h'"}

    def test_many_rows_that_differ_are_counted_and_the_first_are_named(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute(
            "INSERT INTO things (id, kind_id, is_open)"
            " SELECT n, 1, false FROM generate_series(1000, 1500) AS n"
        )
        for action in way_back():
            act(target, connection, PLAN, 4, action)
        with own_transaction(connection):
            connection.execute("UPDATE things SET kind = 'another' WHERE id >= 1000")
        job, stripes = new_job(connection, proofs()[-1])
        totals = work_off(connection, proofs()[-1], job, stripes)
        assert totals.quarantined == 501
        assert [row.key for row in quarantine.rows(connection, job, limit=None)] == [
            (str(n),) for n in range(1000, 1100)
        ]

    def test_a_stopped_proof_resumes_and_counts_no_row_twice(
        self, target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lanes, "FIRST_RANGE_BLOCKS", 1)
        monkeypatch.setattr(lane_positions, "MAX_RANGE_BLOCKS", 1)
        many(connection, 1000)
        for action in way_back():
            act(target, connection, PLAN, 4, action)
        proof = proofs()[-1]
        job, stripes = new_job(connection, proof)
        totals = work_off_with_stops(connection, proof, job, stripes)
        assert (totals.scanned, totals.exact) == (1000 + len(KINDS), len(KINDS))

    def test_rows_written_meanwhile_are_neither_differences_nor_counted_twice(
        self, target: Target, connection: Connection
    ) -> None:
        many(connection, 1000)
        untouched = {key: row["kind_id"] for key, row in rows_of(connection).items()}
        with writing(
            target,
            "UPDATE things SET kind_id = (SELECT max(id) FROM kinds)"
            " WHERE id = 1000 + (%(n)s * 7) %% 200",
            "UPDATE things SET note = repeat('wide', 300) WHERE id = 1000 + (%(n)s * 3) %% 400",
            "INSERT INTO things (id, kind_id, is_open)"
            " SELECT 5000 + %(n)s, min(id), false FROM kinds",
            "DELETE FROM things WHERE id = 5000 + %(n)s - 5",
        ):
            for action in way_back():
                if isinstance(action, Fill):
                    in_rounds(connection, action)
                else:
                    act(target, connection, PLAN, 4, action)
            totals = prove(connection, proofs()[-1])
        assert totals.scanned <= 1000 + len(KINDS) + 6
        assert totals.exact == len(KINDS)
        rows = rows_of(connection)
        assert all(rows[f"{{{n}}}"]["kind_id"] == untouched[f"{{{n}}}"] for n in range(1200, 2000))
