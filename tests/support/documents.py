"""What is written for people, README and docs/, taken apart so that tests can try it out."""

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import global_settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from config.home import ROOT
from rollout import plan
from rollout.checks.ids import CheckId
from rollout.models import Rollout

PLACEHOLDERS = {"PHASE": "3", "PID": "1", "SNAPSHOT": "1", "N": "1", "S": "1"}
"""What stands for a number in a command line."""
SOURCES = (
    *("config", "rollout", "properties", "offers", "bench", "templates"),
    "tests/conftest.py",
)
FENCE = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```", re.M | re.S)


@dataclass(frozen=True)
class Document:
    """A Markdown file: its prose, its examples, its links and the code in its sentences."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def prose(self) -> str:
        return FENCE.sub("", self.text)

    def examples(self, *languages: str, named: bool = True) -> list[str]:
        """The fenced blocks in any of these languages, those with a name of their own as well."""
        return [
            code
            for _, language, name, code in FENCE.findall(self.text)
            if language in languages and (named or not name.strip())
        ]

    @property
    def code(self) -> list[str]:
        """The code in the sentences, each between its ticks, on one line."""
        return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", self.prose)]

    @property
    def quotes(self) -> list[str]:
        """The texts in quotation marks: what people are to see."""
        return re.findall(r"“([^”]+)”", self.prose)

    @property
    def links(self) -> list[str]:
        prose = re.sub(r"`[^`]*`", "", self.prose)
        pictures = re.findall(r'(?:src|srcset)="([^"]+)"', prose)
        return re.findall(r"\]\(([^)\s]+)[^)]*\)", prose) + pictures

    @cached_property
    def anchors(self) -> set[str]:
        """The names by which headings can be linked to."""
        return {anchor(title) for title in re.findall(r"^#+ (.+)$", self.prose, re.M)}

    def command_lines(self) -> Iterator[list[str]]:
        """The command lines of ours that are shown, as words."""
        for block in self.examples("sh", "console", "bash"):
            for line in _whole_lines(block.replace("\\\n", " ")):
                yield from _of_ours(shlex.split(line.removeprefix("$ "), comments=True))
        for code in self.code:
            if code.startswith(("manage.py ", "make ", "rollout ", "python -m ")):
                words = shlex.split(code)
                yield ["manage.py", *words] if words[0] == "rollout" else words


def documents() -> list[Document]:
    top = sorted(ROOT.glob("*.md"))
    return [document_at(path) for path in (*top, *sorted((ROOT / "docs").glob("*.md")))]


@cache
def document_at(path: Path) -> Document:
    """A file, taken apart once however often it is linked to."""
    return Document(path)


def anchor(title: str) -> str:
    plain = re.sub(r"[`*]|\{.*\}$|\]\([^)]*\)|\[", "", title).strip().lower()
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", plain))


def _whole_lines(block: str) -> Iterator[str]:
    """The lines of a block, those put together that a quotation holds together."""
    line = ""
    for part in block.splitlines(keepends=True):
        line += part
        if line.count('"') % 2 == 0:
            yield line
            line = ""
    assert not line, f"an open quotation: {line}"


def _of_ours(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if word in ("|", "&&", ";", "&", ">", "2>"):
            names = [Path(word).name for word in command]
            for program in ("manage.py", "gunicorn", "make"):
                if program in names:
                    yield [program, *command[names.index(program) + 1 :]]
            if names[:1] == ["python"] and "-m" in command:
                yield command
            command = []
        else:
            command.append(word)


def assert_can_be_run(words: list[str]) -> None:
    """That a command line of ours names what there is, with arguments that its parser takes."""
    program, *arguments = words
    match Path(program).name:
        case "gunicorn":
            _assert_gunicorn_takes(arguments)
        case "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
            assert {word for word in arguments if "=" not in word} <= set(targets), words
        case "python" if arguments[0] == "-m":
            assert find_spec(arguments[1]), words
        case "python":
            assert arguments[0] == "manage.py"
            _assert_command_takes(arguments[1:])
        case "manage.py":
            _assert_command_takes(arguments)
        case _:
            raise AssertionError(f"nobody knows how to try {words}")


def _assert_gunicorn_takes(arguments: list[str]) -> None:
    import gunicorn.config

    assert arguments[0] == "config.wsgi"
    known = {
        flag for setting in gunicorn.config.make_settings().values() for flag in setting.cli or ()
    }
    assert {word for word in arguments if word.startswith("-")} <= known


def verbs_of(command: BaseCommand) -> dict[str, argparse.ArgumentParser]:
    """The verbs of a command, each with the parser of its arguments."""
    return _verbs(command.create_parser("manage.py", "rollout"))


def _verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = parser._actions
    return next(a for a in actions if isinstance(a, argparse._SubParsersAction)).choices


def _assert_command_takes(words: list[str]) -> None:
    name, *arguments = words
    given = [PLACEHOLDERS.get(word, word) for word in arguments]
    if name == "startproject":
        return
    assert name in get_commands(), words
    if name == "rollout" and given == ["VERB"]:
        return
    parser = _parser_of(name)
    if name == "rollout" and len(given) == 1 and not given[0].startswith("-"):
        # The verb alone is how sentences name it.
        assert given[0] in _verbs(parser), words
        return
    # Raises CommandError with what the parser does not take.
    parser.parse_args(given)


@cache
def _parser_of(name: str) -> argparse.ArgumentParser:
    return load_command_class(get_commands()[name], name).create_parser("manage.py", name)


@cache
def source() -> str:
    """The text of everything that reads a setting or names a logger."""
    files = [ROOT / "Makefile"]
    for part in SOURCES:
        path = ROOT / part
        files += [path] if path.is_file() else sorted(path.rglob("*.py"))
    return "\n".join(path.read_text() for path in files)


@cache
def _words() -> frozenset[str]:
    return frozenset(re.findall(r"\w+", source()))


def unknown_names(code: str, examples: str) -> str:
    """What is wrong with a piece of code in a sentence; empty where it names what there is.

    A page may name what its own ``examples`` set.
    """
    if re.fullmatch(r"rollout\.[EW]\d{3}", code):
        return "" if code in set(CheckId) else "there is no such check"
    if re.fullmatch(r"r\.\w+", code):
        return "" if code[2:] in plan.__all__ else "the plan's language has no such name"
    if re.fullmatch(
        r"(tests|rollout|properties|config|bench|docs|templates|static)/[\w./-]+", code
    ):
        return "" if (ROOT / code).exists() else "there is no such file"
    if re.fullmatch(r"rollout(\.\w+)+", code) and not code.endswith(".py"):
        in_code = f'"{code}"' in source() or f'"{code}"' in examples
        return "" if _resolves(code) or in_code else "nothing has this name"
    if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", code):
        is_read = code in _words() or code in re.findall(r"\w+", examples)
        return "" if hasattr(global_settings, code) or is_read else "nothing reads such a setting"
    if code.startswith("ROLLOUT["):
        keys = re.findall(r'"([A-Z_]+)"', code)
        unread = [key for key in keys if f'"{key}"' not in source() + examples]
        return f"nothing reads {', '.join(unread)}" if unread else ""
    return ""


def _resolves(name: str) -> bool:
    codename = name.partition(".")[2]
    if codename in permissions():
        return True
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value: Any = import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for attribute in parts[end:]:
            if not hasattr(value, attribute):
                return False
            value = getattr(value, attribute)
        return True
    return False


def permissions() -> set[str]:
    return {"view_rollout", *(codename for codename, _ in Rollout._meta.permissions)}


@cache
def screen() -> str:
    """The text of pages and messages, with literals that are written in parts put together."""
    files = [*(ROOT / "templates").rglob("*.html")]
    for part in ("config", "rollout", "properties", "offers"):
        files += sorted((ROOT / part).rglob("*.py"))
    joined = "\n".join(path.read_text() for path in files)
    joined = re.sub(r"\"\s*\n\s*f?\"", "", joined)
    return re.sub(r"\s+", " ", joined)


def not_on(screen: str, quoted: str) -> list[str]:
    """The parts of a text in quotation marks, between its dots, that no page or message has."""
    parts = [part.strip() for part in " ".join(quoted.split()).split("…")]
    return [part for part in parts if part and part not in screen]
