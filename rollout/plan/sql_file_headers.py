"""The header comments of SQL files, and the SQL that each of them is about."""

import re
from dataclasses import dataclass, field

from rollout.plan.sql_effects import bare

_LINE = re.compile(r"\s*--\s*rollout:\s*(?P<key>[a-z-]+)(?::\s*(?P<value>.*?))?\s*")


@dataclass
class Section:
    """A block of header lines and the SQL after it, down to the next block."""

    line: int
    headers: dict[str, list[str]] = field(default_factory=dict)
    sql: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The SQL without its last semicolon, and without the comments after it."""
        lines = list(self.sql)
        while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("--")):
            lines.pop()
        return "\n".join(lines).strip().rstrip(";").rstrip()


def sections_of(text: str) -> list[Section]:
    """The blocks of header lines, each with the SQL after it; a comment before them is dropped."""
    sections: list[Section] = []
    in_header = False
    for number, line in enumerate(text.splitlines(), start=1):
        header = _LINE.fullmatch(line)
        if header is None:
            in_header = False
            if sections:
                sections[-1].sql.append(line)
            elif bare(line).strip():
                # A statement without a header becomes a section that is refused.
                sections.append(Section(number, sql=[line]))
            continue
        if not in_header:
            sections.append(Section(number))
        in_header = True
        sections[-1].headers.setdefault(header["key"], []).append(header["value"] or "")
    return sections


def text_of(headers: dict[str, list[str]], key: str) -> str:
    return " ".join(headers.get(key, []))
