from rollout.console.charts import crosstabs
from rollout.models import AuditReport


def report_of(cells: list[dict[str, object]]) -> AuditReport:
    categories: dict[str, int] = {}
    for cell in cells:
        name, rows = str(cell["category"]), int(str(cell["rows"]))
        categories[name] = categories.get(name, 0) + rows
    translation = {
        "column": "type_id",
        "legacy_column": "type",
        "lookup_table": "types",
        "categories": categories,
        "cells": cells,
    }
    return AuditReport(categories=categories, translations=[translation])


def cell(legacy: str, category: str, rows: int) -> dict[str, object]:
    return {"legacy": legacy, "new": "x", "category": category, "rows": rows}


def test_mismatches_come_first_then_the_most_frequent_pairs() -> None:
    report = report_of(
        [
            cell("few", "ok", 1),
            cell("many", "ok_normalized", 9),
            cell("bad", "missing", 2),
            cell("worse", "orphan", 1),
        ]
    )
    [shown] = crosstabs.crosstabs(report)
    assert [pair.legacy for pair in shown.cells] == ["worse", "bad", "many", "few"]
    assert shown.mismatched == 3


def test_omitted_pairs_are_counted() -> None:
    many = [cell(str(n), "ok", 2) for n in range(crosstabs.MAX_PAIRS + 5)]
    [shown] = crosstabs.crosstabs(report_of(many))
    assert len(shown.cells) == crosstabs.MAX_PAIRS
    assert (shown.left_out, shown.rows_left_out, shown.pairs) == (5, 10, crosstabs.MAX_PAIRS + 5)


def test_matching_pairs_are_ranked_by_rows_with_their_spellings_and_shares() -> None:
    pairs = [cell("bad", "wrong", 10), cell("a", "ok", 30), cell("A", "ok_normalized", 50)]
    pairs += [{**cell("b", "ok", 10), "new": "y"}]
    [shown] = crosstabs.crosstabs(report_of(pairs))
    first, second = shown.right
    assert [c.legacy for c in first.cells] == ["A", "a"]
    assert (first.new, first.rows, first.share, first.widths) == (
        "x",
        80,
        0.8,
        ("37.50%", "100.00%"),
    )
    assert (second.new, second.rows, second.more) == ("y", 10, 0)
    assert [c.legacy for c in shown.wrong] == ["bad"]
    assert not shown.milder
    worse = [cell(str(n), "wrong", 1) for n in range(crosstabs.MAX_PAIRS + 3)]
    [shown] = crosstabs.crosstabs(report_of(worse))
    assert len(shown.milder) == crosstabs.MAX_PAIRS - crosstabs.MAX_WRONG
    many = [cell(str(n), "ok", 1) for n in range(crosstabs.MAX_SPELLINGS + 3)]
    [shown] = crosstabs.crosstabs(report_of(many))
    assert shown.right[0].more == 3
