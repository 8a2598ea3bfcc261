"""The rows behind an audit's counts, however many there are."""

from collections import Counter

import pytest

from rollout.engine.audit import mismatching_rows
from rollout.engine.target import Connection, Target
from tests.engine.actions import audit, do_until
from tests.engine.audit.filled_tables import filled
from tests.engine.samples import BIGINT, SAMPLES, Sample, past_triggers

PLAN = BIGINT.plan


class TestRows:
    @pytest.mark.parametrize("sample", SAMPLES, ids=str)
    def test_every_mismatching_row_can_be_had_however_many_there_are(
        self, sample: Sample, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 40, sample)
        sample.damage(connection, 3, kind_id=-1)
        sample.update(connection, 5, is_open=False)
        with target.connect() as own:
            mismatches = list(mismatching_rows(own, sample.plan, sample.table))
        assert Counter(m.category for m in mismatches) == {"orphan": 1, "computed_differs": 1}
        assert {tuple(m.key_parts) for m in mismatches} == {
            tuple(map(str, sample.make_key(number))) for number in (3, 5)
        }

    @pytest.mark.slow
    def test_ten_thousand_texts_without_a_mapping_are_found_by_hash(
        self, target: Target, connection: Connection
    ) -> None:
        filled(target, connection, 1)
        connection.execute("ALTER TABLE things DISABLE TRIGGER USER")
        connection.execute(
            "INSERT INTO things (id, kind) SELECT n, 'text ' || n FROM generate_series(10, 10009) n"
        )
        result = audit(target, PLAN, store=20_000)
        kinds = next(t for t in result.translations if t.column == "kind_id")
        assert kinds.categories["unmapped"] == 10_000
        assert sum(m.category == "unmapped" for m in result.mismatches) == 10_000


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_mismatching_row_is_found_by_its_key_with_what_was_expected_and_what_is(
    sample: Sample, target: Target, connection: Connection
) -> None:
    sample.create(connection)
    for number in range(10):
        sample.insert(connection, number, kind=" house", state="Open")
    sample.insert(connection, 10, kind="Flat", state="Sold")
    do_until(target, connection, sample.plan, "backfill")
    flat = sample.lookup_id(connection, "Flat")
    sample.damage(connection, 3, kind_id=flat, is_open=False)
    result = audit(target, sample.plan)
    mismatches = {m.column: m for m in result.mismatches}
    assert set(mismatches) == {sample.kind.column, sample.is_open.column}
    wrong = mismatches[sample.kind.column]
    assert wrong.key == ",".join(map(str, sample.make_key(3)))
    assert (wrong.table, wrong.category) == (sample.table.label, "wrong")
    assert (wrong.legacy, wrong.expected, wrong.actual) == (" house", "house", "Flat")
    derived = mismatches[sample.is_open.column]
    assert (derived.legacy, derived.expected, derived.actual) == ("Open", "true", "false")
    assert (result.rows, result.mismatched) == (11, 1)


def test_a_row_without_its_lookup_row_says_which_number_it_has(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    BIGINT.insert(connection, 1, kind="House")
    do_until(target, connection, PLAN, "backfill")
    with past_triggers(connection):
        connection.execute("UPDATE things SET kind_id = 4711")
    (mismatch,) = audit(target, PLAN).mismatches
    assert (mismatch.category, mismatch.actual) == ("orphan", "#4711 (no such row)")
    assert mismatch.expected == "House"
