"""The fields that hold for the work at hand, and how they come into a line."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from textwrap import indent
from types import MappingProxyType
from typing import Any

from pythonjsonlogger.json import JsonFormatter as _JsonFormatter

from rollout.logs.texts import visible

# In the order in which a line shows them.
FIELDS = (
    *("request", "plan", "environment", "phase", "direction", "run", "step", "job"),
    *("audit", "snapshot", "restore", "rehearsal", "event", "actor"),
)

_fields: ContextVar[Mapping[str, Any]] = ContextVar(
    "fields of log lines", default=MappingProxyType({})
)


def current() -> Mapping[str, Any]:
    """The fields that hold here."""
    return _fields.get()


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add these fields to lines logged inside. A new thread begins without any."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


class Context(logging.Filter):
    """Gives each record the fields that hold; those of its own ``extra`` come first."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in _fields.get().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class JsonFormatter(_JsonFormatter):
    """One JSON object a line: time (UTC), level, logger, message, process, and the fields."""

    default_msec_format = "%s.%03dZ"
    default_time_format = "%Y-%m-%dT%H:%M:%S"

    def __init__(self) -> None:
        super().__init__(
            "{asctime}{levelname}{name}{message}{process}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
        self.converter = time.gmtime


class LineFormatter(logging.Formatter):
    """For people: the fields follow the message.

    Whatever others wrote stays in its line: control characters are escaped, and the lines of a
    traceback are indented.
    """

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name}: {message}", style="{")

    def format(self, record: logging.LogRecord) -> str:
        # The traceback that another formatter has left in the record is not indented.
        kept, record.exc_text = record.exc_text, None
        try:
            return super().format(record)
        finally:
            record.exc_text = kept

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = [
            f"{name}={visible(str(value))}"
            for name in FIELDS
            if (value := getattr(record, name, None)) not in (None, "")
        ]
        line = visible(super().formatMessage(record))
        return f"{line} [{' '.join(fields)}]" if fields else line

    def formatException(self, ei: Any) -> str:
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return indent(visible(text, keep="\n"), "  ", lambda _line: True)
