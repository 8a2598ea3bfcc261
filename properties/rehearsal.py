"""The traffic of a rehearsal: what people do on the property pages, one operation at a time."""

from __future__ import annotations

from collections.abc import Callable

from properties.traffic import Traffic


def traffic(*, using: str, seed: int) -> Callable[[], None]:
    """A function that does one thing in the database ``using``, and raises where that fails.

    Nothing is uploaded: files would go to the storage of production. The probes try that out.
    """
    stream = Traffic(seed=seed, report=lambda _line: None, using=using)
    return lambda: stream.do(stream.pick_verb(besides=stream.upload))
