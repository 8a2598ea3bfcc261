"""What the benchmark of sizes prints for people, and what it is to reach."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.pages import P95_MS

SPEEDS = ("fill", "archive", "restore", "audit")
# Whatever the table's size.
MAX_WORKER_BYTES = 150 * 1024**2
# The largest size's speed, as a share of the smallest's.
MIN_SPEED_SHARE = 0.8
MAX_APPLICATION_P95_MS = 100.0

Results = Mapping[int, Mapping[str, Any]]


def targets(results: Results) -> dict[str, dict[str, Any]]:
    """What must be reached, what was, and whether that is enough."""
    smallest, largest = results[min(results)], results[max(results)]
    reached: dict[str, dict[str, Any]] = {}
    for name in SPEEDS:
        share = largest[f"{name}_rows_per_s"] / smallest[f"{name}_rows_per_s"]
        reached[f"{name}_speed_share"] = {
            "at_least": MIN_SPEED_SHARE,
            "reached": round(share, 3),
            "met": share >= MIN_SPEED_SHARE,
        }
    worker = max(figures["worker_bytes"] for figures in results.values())
    for name, at_most, value in (
        ("worker_bytes", MAX_WORKER_BYTES, worker),
        ("console_p95_ms", P95_MS, _slowest(results, of_application=False)),
        ("application_p95_ms", MAX_APPLICATION_P95_MS, _slowest(results, of_application=True)),
    ):
        reached[name] = {"at_most": at_most, "reached": value, "met": value <= at_most}
    return reached


def _slowest(results: Results, *, of_application: bool) -> float:
    return float(
        max(
            page["p95_ms"]
            for figures in results.values()
            for address, page in figures["pages"].items()
            if address.startswith("/properties/") == of_application
        )
    )


def lines(
    results: Results, left_out: Sequence[int], targets: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    yield (
        f"{'rows':>12} {'fill/s':>12} {'archive/s':>12} {'restore/s':>12} {'audit/s':>12}"
        f" {'worker MB':>10} {'checkpoints kB':>15} {'journal kB':>11} {'disk B/row':>11}"
    )
    for rows, figures in results.items():
        speeds = [f"{figures[f'{name}_rows_per_s']:>12,.0f}" for name in SPEEDS]
        sizes = [
            f"{figures['worker_bytes'] / 1e6:>10.0f}",
            f"{figures['checkpoint_bytes'] / 1e3:>15,.0f}",
            f"{figures['journal_bytes'] / 1e3:>11,.0f}",
            f"{figures['disk_bytes_a_row']:>11,.0f}",
        ]
        yield " ".join([f"{rows:>12,}", *speeds, *sizes])
    for rows in left_out:
        yield f"{rows:>12,} left out: no room"
    yield ""
    yield "p95 of each page, ms, at each size"
    for name in _pages(results):
        times = (figures["pages"].get(name) for figures in results.values())
        yield " ".join(f"{page['p95_ms']:>9.1f}" if page else f"{'-':>9}" for page in times) + (
            f"  {name}"
        )
    for name, target in targets.items():
        bound = f"≥ {target['at_least']}" if "at_least" in target else f"≤ {target['at_most']:g}"
        yield (
            f"{name:<22} {target['reached']:>14,.2f}  {bound:<12}"
            f" {'met' if target['met'] else 'MISSED'}"
        )


def _pages(results: Results) -> list[str]:
    return list(dict.fromkeys(name for figures in results.values() for name in figures["pages"]))
