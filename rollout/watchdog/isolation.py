"""Keeps an error in one rollout or duty from stopping the others."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rollout import journal

# The same error is not logged more often.
REPEAT_AFTER_SECONDS = 60.0

_log = logging.getLogger(__name__)
_logged: dict[str, tuple[str, float]] = {}


@contextmanager
def isolated(what: str) -> Iterator[None]:
    """Log an error of ``what`` instead of raising it.

    An error that has cost the journal's connection is raised: the lead goes with the connection,
    and who does not lead may do nothing more.
    """
    try:
        yield
    except Exception as error:
        if not journal.connection().is_usable():
            raise
        text = f"{type(error).__name__}: {error}"
        last, at = _logged.get(what, ("", 0.0))
        if last != text or time.monotonic() - at > REPEAT_AFTER_SECONDS:
            _logged[what] = text, time.monotonic()
            _log.exception("%s failed", what)
    else:
        _logged.pop(what, None)
