"""Two pages of the documents that the package carries too: the glossary and the runbook."""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rollout.console import markdown

# In the repository links to the pages of the documents; the wheel has the texts themselves.
GLOSSARY, RUNBOOK = (Path(__file__).parent / name for name in ("glossary.md", "runbook.md"))
_CHAPTER = re.compile(r"## (.+)")
_TERM = re.compile(r"\| \*\*(.+?)\*\* \| (.+) \|")


@dataclass(frozen=True)
class Term:
    word: str
    meaning: str

    @property
    def anchor(self) -> str:
        """Its name in an address."""
        return self.word.lower().replace(" ", "-")


@dataclass(frozen=True)
class Chapter:
    title: str
    terms: list[Term] = field(default_factory=list)


@cache
def chapters() -> list[Chapter]:
    """The chapters of the glossary: each second-level heading with the table rows below it."""
    parsed: list[Chapter] = []
    for line in GLOSSARY.read_text(encoding="utf-8").splitlines():
        if heading := _CHAPTER.fullmatch(line):
            parsed.append(Chapter(heading[1]))
        elif row := _TERM.fullmatch(line):
            parsed[-1].terms.append(Term(row[1], row[2]))
    return parsed


@cache
def entries() -> list[markdown.Chapter]:
    """The entries of the runbook, after what stands before them."""
    return markdown.chapters_of(RUNBOOK.read_text(encoding="utf-8"))
