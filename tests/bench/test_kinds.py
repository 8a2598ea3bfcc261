"""The benchmark of the kinds of translations, run small: each fills every row."""

import json

import pytest

from tests.bench.runs import run_bench


@pytest.mark.bench
def test_the_last_line_has_the_speed_of_every_kind() -> None:
    done = run_bench("bench.kinds", "--rows", "20000", "--rounds", "1", timeout=180)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["rows"] == 20_000
    assert set(figures["kinds"]) == {
        "lookup",
        "convert",
        "convert, some values do not",
        "extract, 20 groups",
        "extract, a group for 100 rows",
        "extract, a group for two rows",
    }
    lookup = figures["kinds"]["lookup"]["rows_per_s"]
    for kind in figures["kinds"].values():
        assert kind["rows_per_s"] > 0
        assert kind["share"] == pytest.approx(kind["rows_per_s"] / lookup, rel=0.01)
