"""Types whose values are the same and compare alike, so that one may take another one's place."""

import re

_FAMILIES = (
    re.compile(r"smallint|integer|bigint"),
    re.compile(r"text|character varying(\(\d+\))?"),
    re.compile(r"numeric(\(\d+(,\d+)?\))?"),
)


def compare_alike(first: str, second: str) -> bool:
    """Whether indexes and conditions over the first type mean the same over the second."""
    return any(of.fullmatch(first) and of.fullmatch(second) for of in _FAMILIES)
