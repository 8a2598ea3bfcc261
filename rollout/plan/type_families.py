"""Types whose values are the same and compare alike, so that one may take another one's place."""

import re

_FAMILIES = (
    re.compile(r"smallint|integer|bigint"),
    re.compile(r"text|character varying(\(\d+\))?"),
)
_NUMERIC = re.compile(r"numeric(?:\(\d+(?:,(\d+))?\))?")


def compare_alike(old: str, new: str) -> bool:
    """Whether indexes and conditions over the old type mean the same over the new one.

    A cast to fewer decimals rounds: two numbers may become one.
    """
    before, after = _NUMERIC.fullmatch(old), _NUMERIC.fullmatch(new)
    if before and after:
        return new == "numeric" or (old != "numeric" and _decimals(after) >= _decimals(before))
    return any(of.fullmatch(old) and of.fullmatch(new) for of in _FAMILIES)


def _decimals(numeric: re.Match[str]) -> int:
    return int(numeric[1] or 0)
