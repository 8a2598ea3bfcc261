"""Lines say which work they are about, as JSON and for people."""

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from rollout import logs
from rollout.logs import context
from rollout.worker.kinds import KINDS


@pytest.fixture
def lines() -> Any:
    """A logger, and what its lines look like in both forms."""
    logger = logging.getLogger("tests.lines")
    handler = _Kept()
    handler.addFilter(logs.Context())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger, handler
    logger.removeHandler(handler)


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def json(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(logs.JsonFormatter().format(self.records[-1]))
        return line

    @property
    def text(self) -> str:
        return logs.LineFormatter().format(self.records[-1])


def test_fields_hold_inside_and_add_up(lines: Any) -> None:
    logger, kept = lines
    with logs.bound(plan="p", phase=2):
        with logs.bound(job=7, phase=3):
            logger.info("hello %s", "there")
            assert kept.json["message"] == "hello there"
            assert {name: kept.json[name] for name in ("plan", "phase", "job")} == {
                "plan": "p",
                "phase": 3,
                "job": 7,
            }
        logger.info("again")
        assert kept.json["phase"] == 2
        assert "job" not in kept.json
    logger.info("outside")
    assert "plan" not in kept.json


def test_a_line_of_json_has_time_level_logger_and_error(lines: Any) -> None:
    logger, kept = lines
    try:
        raise ValueError("no\nway")
    except ValueError:
        logger.exception("It failed")
    assert kept.json["level"] == "ERROR"
    assert kept.json["logger"] == "tests.lines"
    assert kept.json["time"].endswith("Z")
    assert "ValueError: no\nway" in kept.json["exc_info"]
    assert "\n" not in logs.JsonFormatter().format(kept.records[-1])


def test_a_line_for_people_shows_the_fields_behind_the_message(lines: Any) -> None:
    logger, kept = lines
    with logs.bound(run=5, plan="p", phase=0, step=""):
        logger.info("hello")
    assert kept.text.endswith("INFO tests.lines: hello [plan=p phase=0 run=5]")


def test_fields_of_a_line_win_over_its_context(lines: Any) -> None:
    logger, kept = lines
    with logs.bound(plan="p"):
        logger.info("hello", extra={"plan": "q"})
    assert kept.json["plan"] == "q"


def test_threads_do_not_share_their_fields(lines: Any) -> None:
    logger, kept = lines

    def beside() -> None:
        logger.info("beside")

    with logs.bound(plan="p"):
        run(beside)
    assert "plan" not in kept.json


def run(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


FORGED = "2026-11-29 00:00:00,000 INFO rollout.journal: Approved phase 4. [actor=lead2]"
BREAKS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00\n"]


@pytest.mark.parametrize("end", BREAKS)
def test_no_text_of_a_client_begins_a_line_of_its_own(lines: Any, end: str) -> None:
    logger, kept = lines
    text = f"/x{end}{FORGED}"
    with logs.bound(actor=text):
        try:
            raise ValueError(text)
        except ValueError:
            logger.warning("%s is not found", text, exc_info=True, stack_info=True)
    logging.Formatter().format(kept.records[-1])  # It leaves its own traceback in the record.
    shown = kept.text.splitlines()
    assert shown[0].endswith("]")
    assert len(shown) > 5
    assert all(line.startswith("  ") for line in shown[1:])
    assert len(logs.JsonFormatter().format(kept.records[-1]).splitlines()) == 1
    assert kept.json["actor"] == text


@pytest.mark.parametrize("control", ["\x1b[31m", "\x1b]0;x\x07", "\x9b2J", "\u202e", "\ud800"])
def test_no_terminal_obeys_a_line(
    lines: Any, control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger, kept = lines
    # The test run keeps lines for its report as they are, and cannot send half a character on.
    monkeypatch.setattr(logger, "propagate", False)
    with logs.bound(plan=control):
        logger.info("before %s after", control)
    for line in (kept.text, logs.JsonFormatter().format(kept.records[-1])):
        assert control[0] not in line
        assert f"\\u{ord(control[0]):04x}" in line
    line = kept.text.encode()  # No half of a character is left that has no bytes.
    assert line.isascii()


def test_a_line_shows_whatever_kind_of_work_it_belongs_to() -> None:
    assert {kind.model.kind for kind in KINDS} <= set(context.FIELDS)
