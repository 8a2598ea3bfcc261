"""The differences between two answers to the same read. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The rows of an answer in their order: primary key to what is shown of the row, by name.
Answer = Mapping[Any, Mapping[str, object]]


@dataclass(frozen=True)
class Difference:
    """One row in which two answers differ; ``name`` is empty if only its place does."""

    key: tuple[str, ...]
    name: str
    old: str | None
    new: str | None


def differences(old: Answer, new: Answer) -> list[Difference]:
    """Every row that differs: in what is shown of it, in its presence, or in its place."""
    one = {_key(key): shown for key, shown in old.items()}
    two = {_key(key): shown for key, shown in new.items()}
    places = {key: number for number, key in enumerate(one)}
    new_places = {key: number for number, key in enumerate(two)}
    found = [
        Difference(key, name, _text(shown.get(name)), _text(two[key].get(name)))
        for key, shown in one.items()
        if key in two
        for name in {**shown, **two[key]}
        if shown.get(name) != two[key].get(name)
    ]
    gone = {key for key in one if key not in two}
    came = {key for key in two if key not in one}
    found += [Difference(key, "", _place(places[key]), None) for key in one if key in gone]
    found += [Difference(key, "", None, _place(new_places[key])) for key in two if key in came]
    if not gone and not came:
        found += [
            Difference(key, "", _place(places[key]), _place(new_places[key]))
            for key in one
            if places[key] != new_places[key]
        ]
    return found


def _key(key: object) -> tuple[str, ...]:
    return tuple(map(str, key)) if isinstance(key, tuple) else (str(key),)


def _place(number: int) -> str:
    return f"row {number + 1} of the answer"


def _text(value: object) -> str | None:
    return None if value is None else str(value)
