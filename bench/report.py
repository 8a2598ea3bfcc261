"""What is printed at the end: a table for people, and one line of JSON."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.statements import Figures, lines_of

COLUMNS = {
    "rows/s": ("rows_per_s", "{:,.0f}"),
    "share": ("share", "{:.0%}"),
    "WAL MB": ("wal_bytes", "{:,.0f}"),
    "table ×": ("table_growth", "{:.2f}"),
    "indexes ×": ("index_growth", "{:.2f}"),
    "HOT": ("hot_share", "{:.0%}"),
    "app p50": ("app_p50_ms", "{:,.1f}"),
    "p95": ("app_p95_ms", "{:,.1f}"),
    "p99 ms": ("app_p99_ms", "{:,.1f}"),
    "max": ("app_max_ms", "{:,.0f}"),
    "errors": ("app_errors", "{}"),
    "rows/s ": ("app_rows_per_s", "{:,.0f}"),
    "share ": ("app_share", "{:.0%}"),
}
"""Heading to figure and its format."""


@dataclass
class KeyReport:
    """The figures of one type of key."""

    rows: int
    key: str
    idle: dict[str, Any]
    busy_core: dict[str, Any]
    bare: dict[str, Any] = field(default_factory=dict)
    loops: dict[str, dict[str, Any]] = field(default_factory=dict)
    statements: dict[str, dict[str, Figures]] = field(default_factory=dict)

    @property
    def path_ratio(self) -> float:
        """The speed of the whole path (queue, journal, final sweep) to that of the loop alone."""
        return float(self.loops["rollout"]["rows_per_s"] / self.bare["rows_per_s"])

    @property
    def targets(self) -> dict[str, dict[str, Any]]:
        """What the engine is to reach, what it reached, and whether that is enough."""
        targets: dict[str, dict[str, Any]] = {}
        if not {"rollout", "keyset", "single_update"} <= self.loops.keys():
            return targets
        rollout, keyset, single = (
            self.loops[name] for name in ("rollout", "keyset", "single_update")
        )
        for name, at_least, reached in (
            ("speed_to_keyset", 2.0, rollout["rows_per_s"] / keyset["rows_per_s"]),
            ("speed_to_single_update", 1.6, rollout["rows_per_s"] / single["rows_per_s"]),
            ("path_ratio", 0.9, self.path_ratio),
            ("speed_beside_to_alone", 0.5, rollout["app_rows_per_s"] / rollout["rows_per_s"]),
        ):
            targets[name] = {"at_least": at_least, "reached": reached, "met": reached >= at_least}
        for name, at_most, reached in (
            ("wal_to_single_update", 0.4, rollout["wal_bytes"] / single["wal_bytes"]),
            ("table_growth", 1.2, rollout["table_growth"]),
            ("app_p99_to_busy_core", 2.0, rollout["app_p99_ms"] / self.busy_core["app_p99_ms"]),
            ("app_errors", 0, rollout["app_errors"]),
        ):
            targets[name] = {"at_most": at_most, "reached": reached, "met": reached <= at_most}
        return targets

    def as_dict(self) -> dict[str, Any]:
        figures = {
            "rows": self.rows,
            "key": self.key,
            "loops": self.loops,
            "idle": self.idle,
            "busy_core": self.busy_core,
            "bare": self.bare,
            "statements": self.statements,
            "path_ratio": self.path_ratio if "rollout" in self.loops else None,
            "targets": self.targets,
        }
        return {name: _rounded(value) for name, value in figures.items()}

    def lines(self) -> Iterator[str]:
        """The table, as text."""
        yield f"{self.rows:,} rows, {self.key} key"
        rows = {
            "idle": self.idle,
            "busy core": self.busy_core,
            "bare loop": self.bare,
            **self.loops,
        }
        cells = [["", *COLUMNS]]
        for name, figures in rows.items():
            cells.append([name, *(_cell(figures, *column) for column in COLUMNS.values())])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            yield f"{row[0]:<{widths[0]}}  " + "  ".join(
                f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)
            )
        for name, target in self.targets.items():
            bound = f"≥ {target['at_least']}" if "at_least" in target else f"≤ {target['at_most']}"
            verdict = "met" if target["met"] else "MISSED"
            yield f"{name:<24} {target['reached']:>8.2f}  {bound:<7} {verdict}"
        yield from lines_of(self.statements)


def _cell(figures: dict[str, Any], name: str, form: str) -> str:
    value = figures.get(name)
    if value is None:
        return "-"
    return form.format(value / 1e6 if name == "wal_bytes" else value)


def _rounded(value: Any) -> Any:
    """Figures to four places: what is beyond them is noise."""
    if isinstance(value, dict):
        return {name: _rounded(figure) for name, figure in value.items()}
    return round(value, 4) if isinstance(value, float) else value
