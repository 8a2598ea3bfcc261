"""Durations as a histogram with a bounded relative error, so that many can be added up exactly.

The buckets grow by a fixed ratio, as in DDSketch (Masson, Rim, Lee: DDSketch, VLDB 2019): a
quantile read from any sum of histograms is off by at most ``ERROR``.
"""

import math
from collections.abc import Iterable, Mapping

ERROR = 0.05
_RATIO = (1 + ERROR) / (1 - ERROR)
_LOG = math.log(_RATIO)
# Seconds; what is shorter counts as this.
_SHORTEST = 1e-6


class Histogram:
    """Counts of durations in seconds."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts: dict[int, int] = dict(counts or {})

    @classmethod
    def of_json(cls, counts: Mapping[str, int]) -> "Histogram":
        return cls({int(bucket): count for bucket, count in counts.items()})

    def as_json(self) -> dict[str, int]:
        return {str(bucket): count for bucket, count in sorted(self._counts.items())}

    def add(self, seconds: float) -> None:
        bucket = math.ceil(math.log(max(seconds, _SHORTEST)) / _LOG)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1

    def merge(self, other: "Histogram") -> None:
        counts = self._counts
        for bucket, count in other._counts.items():
            counts[bucket] = counts.get(bucket, 0) + count

    def merge_json(self, counts: Mapping[str, int]) -> None:
        """The same with what ``as_json`` gave: a page reads thousands of these."""
        own = self._counts
        for text, count in counts.items():
            bucket = int(text)
            own[bucket] = own.get(bucket, 0) + count

    def merge_all(self, several: Iterable[Mapping[str, int]]) -> None:
        """The same with many of them."""
        sums: dict[str, int] = {}
        for counts in several:
            for text, count in counts.items():
                sums[text] = sums.get(text, 0) + count
        self.merge_json(sums)

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self._counts == other._counts

    __hash__ = None  # type: ignore[assignment]

    def up_to(self, last: int) -> int:
        """How many were at most ``upper_bound(last)``: exact, for every bucket."""
        return sum(count for bucket, count in self._counts.items() if bucket <= last)

    def quantile(self, share: float) -> float | None:
        """The duration in seconds that this share of all did not exceed; None without any."""
        if not self._counts:
            return None
        rank = max(1, math.ceil(share * len(self)))
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank:
                return 2 * _RATIO**bucket / (_RATIO + 1)
        raise AssertionError("the counts add up to the total")


def total(histograms: Iterable[Histogram]) -> Histogram:
    """The sum of histograms."""
    result = Histogram()
    for histogram in histograms:
        result.merge(histogram)
    return result


def upper_bound(bucket: int) -> float:
    """The longest duration in seconds that a bucket holds."""
    return _RATIO**bucket
