"""Which rows a repair is about: by key, by legacy text, by column."""

from typing import Any

import pytest

from rollout.engine.repair import (
    NothingSelected,
    Selection,
    count,
)
from rollout.engine.repair.selection import MAX_KEYS
from rollout.engine.target import Connection, Target
from tests.engine.actions import do_until
from tests.engine.repairs import carry_out, everything, mapped_rows, quietly, repairing
from tests.engine.samples import BIGINT, DIRTY, SAMPLES, Sample


class TestSelection:
    @pytest.mark.parametrize("sample", SAMPLES, ids=str)
    def test_rows_are_selected_by_their_keys_whatever_these_are(
        self, sample: Sample, target: Target, connection: Connection
    ) -> None:
        sample.create(connection)
        for number in range(12):
            sample.insert(connection, number, kind=DIRTY[number], state="Open")
        do_until(target, connection, sample.plan, "backfill")
        for number in range(12):
            quietly(connection, sample, number, kind_id=None, is_open=False)
        before = everything(connection, sample)
        keys = [tuple(map(str, sample.make_key(number))) for number in (3, 7)]
        repair = repairing(sample, keys=keys, columns=[sample.kind.column])
        assert count(connection, repair).categories == {"missing": 2}
        assert carry_out(connection, repair) == 2
        after = everything(connection, sample)
        changed = {key for key in after if after[key][2] != before[key][2]}
        assert {tuple(map(str, key)) for key in changed} == set(keys)
        assert sample.row(connection, 3, "kind_id") is not None

    def test_rows_are_selected_by_their_legacy_text_and_null_by_the_empty_one(
        self, target: Target, connection: Connection
    ) -> None:
        mapped_rows(target, connection, "House", "house", "Flat", None, "")
        for number in range(5):
            quietly(connection, BIGINT, number, kind_id=4711)
        repair = repairing(columns=["kind_id"], legacy=["house", None])
        assert carry_out(connection, repair) == 3
        names = [BIGINT.name_of(connection, number) for number in range(5)]
        assert names == [None, "House", None, "Unspecified", "Unspecified"]

    def test_columns_that_are_not_selected_stay_as_they_are(
        self, target: Target, connection: Connection
    ) -> None:
        mapped_rows(target, connection, "House", "Flat")
        flat = BIGINT.row(connection, 1, "kind_id")
        quietly(connection, BIGINT, 0, kind_id=flat, is_open=False)
        carry_out(connection, repairing(columns=["is_open"]))
        assert BIGINT.row(connection, 0, "kind_id", "is_open") == (flat, True)

    @pytest.mark.parametrize(
        ("selection", "message"),
        [
            ({"columns": ["price"]}, "The plan fills no column price of things"),
            ({"categories": ["ok"]}, "Category ok has no rows to repair"),
            ({"keys": []}, "No rows selected"),
            ({"legacy": []}, "No rows selected"),
            ({"keys": [["1", "2"]]}, "A key of things has the parts id"),
            ({"keys": [[str(n)] for n in range(MAX_KEYS + 1)]}, "Select by category"),
            ({"rows": 3}, "Unknown part of the selection: rows"),
        ],
    )
    def test_a_selection_that_means_nothing_says_so(
        self, selection: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(NothingSelected, match=message):
            repairing(**selection)

    def test_a_selection_survives_the_journal(self) -> None:
        selection = Selection.of({"columns": ["kind_id"], "legacy": ["a", None], "keys": [["1"]]})
        assert Selection.of(selection.as_json) == selection
