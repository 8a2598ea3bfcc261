"""What the shell prints: texts for people are harmless to a terminal, data are exact."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from django.core.management.base import OutputWrapper

from rollout.logs.texts import is_storable, visible


class Escaped(OutputWrapper):
    """For people: control characters, and what the stream cannot encode, as escapes.

    Takes the place of a command's own wrapper of the same stream.
    """

    def __init__(self, wrapper: OutputWrapper) -> None:
        super().__init__(cast(TextIO, wrapper._out), wrapper.ending)
        self.style_func = wrapper.style_func

    def write(  # type: ignore[override]
        self,
        msg: str = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        text = visible(msg, keep="\n\t")
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
        super().write(text, style_func, ending)


class Exact(Escaped):
    """For files and programs: every character as it is, in UTF-8. On a terminal, for people."""

    def write(  # type: ignore[override]
        self,
        msg: str = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        if self.isatty():
            super().write(msg, style_func, ending)
            return
        if reconfigure := getattr(self._out, "reconfigure", None):
            reconfigure(encoding="utf-8")
        OutputWrapper.write(self, msg, style_func, ending)


@contextmanager
def without_logs() -> Iterator[None]:
    """Keep lines below a warning off the streams on which a verb answers.

    Handlers that write elsewhere, into files or to a service, get every line.
    """
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    shown = {
        handler: handler.level
        for logger in loggers
        for handler in getattr(logger, "handlers", ())
        if getattr(handler, "stream", None)
        in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    }
    for handler, level in shown.items():
        handler.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for handler, level in shown.items():
            handler.setLevel(level)


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Output into a pipe ends quietly when its reader leaves: `rollout audit … --csv | head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes at its end, and would complain again.
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def unreadable(options: dict[str, Any], *, paths: tuple[str, ...]) -> str:
    """Which argument is no text, with what to do about it; empty where all are.

    ``paths`` are those that name files: a file system takes what is no text too.
    """
    for name, value in options.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and name not in paths and not is_storable(text):
                return (
                    f"{name.replace('_', ' ')} is not text in UTF-8: {visible(text)[:200]}. "
                    "Type it again."
                )
    return ""
