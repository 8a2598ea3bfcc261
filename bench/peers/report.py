"""What the benchmark of the peers prints for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.report import KeyReport

KILL = "{:<26}{:>11,} {:>16,} {:>7,} {:>9.1f}  {}"
COMPARISON = "{:<26}{:>9.2f} {:>11,.0f} {:>8.1f} {:>12} {:>18}"


def lines(
    backfills: KeyReport,
    kills: Mapping[str, Mapping[str, Any]],
    comparisons: Mapping[str, Mapping[str, Any]],
    does_not_run: Mapping[str, str],
    versions: Mapping[str, str],
) -> Iterator[str]:
    yield from backfills.lines()
    yield ""
    yield "kill -9 at a third of the rows"
    yield (
        f"{'':<26}{'done again':>11} {'committed twice':>16} {'lost':>7} {'pause s':>9}"
        "  the work continues"
    )
    for name, kill in kills.items():
        yield KILL.format(
            name,
            kill["done_again"],
            kill["committed_twice"],
            kill["lost"],
            kill["seconds_without_writes"],
            kill["recovery"],
        )
    yield ""
    yield "comparison of old and new columns"
    yield (
        f"{'':<26}{'seconds':>9} {'rows/s':>11} {'p99 ms':>8} {'wrong seen':>12}"
        f" {'false, at writes':>18}"
    )
    for name, figures in comparisons.items():
        yield COMPARISON.format(
            name,
            figures["seconds"],
            figures["rows_per_s"],
            figures["app_p99_ms"],
            figures["wrong_rows_seen"],
            figures["differing_beside_writes"],
        )
    for name, reason in does_not_run.items():
        yield f"{name} does not run here: {reason}"
    for environment, text in versions.items():
        yield f"{environment}: {text}"
