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
    before = {_key(key): shown for key, shown in old.items()}
    after = {_key(key): shown for key, shown in new.items()}
    places = {key: number for number, key in enumerate(before)}
    new_places = {key: number for number, key in enumerate(after)}
    differing = [
        Difference(key, name, _text(shown.get(name)), _text(after[key].get(name)))
        for key, shown in before.items()
        if key in after
        for name in {**shown, **after[key]}
        if shown.get(name) != after[key].get(name)
    ]
    gone = {key for key in before if key not in after}
    came = {key for key in after if key not in before}
    differing += [Difference(key, "", _place(places[key]), None) for key in before if key in gone]
    differing += [
        Difference(key, "", None, _place(new_places[key])) for key in after if key in came
    ]
    if not gone and not came:
        differing += [
            Difference(key, "", _place(places[key]), _place(new_places[key]))
            for key in before
            if places[key] != new_places[key]
        ]
    return differing


def _key(key: object) -> tuple[str, ...]:
    return tuple(map(str, key)) if isinstance(key, tuple) else (str(key),)


def _place(number: int) -> str:
    return f"row {number + 1} of the answer"


def _text(value: object) -> str | None:
    return None if value is None else str(value)
