"""What SQL does, judged by its text: whether it destroys anything or refuses more than before."""

import re

from rollout.plan.names import SCHEMA

_NOISE = re.compile(
    # What is no code: comments, texts, quoted names; a function's body is not run now, DO's is.
    r"--[^\n]*|/\*.*?\*/|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
    r"|(?P<do>\bDO\s+(?:LANGUAGE\s+\w+\s+)?)?(?P<tag>\$\w*\$)(?P<body>.*?)(?P=tag)",
    re.DOTALL | re.IGNORECASE,
)
_DESTRUCTIVE = re.compile(
    r"(?<!\bCOMMIT\s)\bDROP\b(?!\s+(?:NOT\s+NULL|DEFAULT|EXPRESSION|IDENTITY))|\bTRUNCATE\b|\bDELETE\s+FROM\b"
    r"|\bUPDATE\s+(?:ONLY\s+)?[\w.]+(?:\s+(?:AS\s+)?\w+)?\s+SET\b|\bDO\s+UPDATE\s+SET\b|\bMERGE\s+INTO\b"
    r"|\bALTER\s+(?:COLUMN\s+)?\w+\s+(?:SET\s+DATA\s+)?TYPE\b",
    re.IGNORECASE,
)
_OWN_UPDATE = re.compile(rf'\bUPDATE\s+"{SCHEMA}"\."(?:[^"]|"")+"', re.IGNORECASE)
_RESTRICTIVE = re.compile(
    r"\bSET\s+NOT\s+NULL\b|\bADD\b[^;,]*?\bNOT\s+NULL\b|\bCREATE\s+UNIQUE\s+INDEX\b"
    r"|\bADD\s+(?:CONSTRAINT|CHECK|UNIQUE|PRIMARY\s+KEY|FOREIGN\s+KEY|EXCLUDE)\b",
    re.IGNORECASE,
)


def bare(text: str, *, names: bool = False) -> str:
    """SQL without its comments, texts and quoted names, which each leave a word.

    With ``names`` the quoted names stay.
    """

    def without(noise: re.Match[str]) -> str:
        if noise["do"]:
            return f"DO {bare(noise['body'], names=names)} "
        if names and noise[0].startswith('"'):
            return noise[0]
        return " " if noise[0].startswith(("--", "/*")) else "quoted"

    return _NOISE.sub(without, text)


def is_destructive(text: str) -> bool:
    """Whether SQL takes away or overwrites something that is there.

    Counts and the like that the engine keeps in its own schema are nobody's data.
    """
    return _DESTRUCTIVE.search(bare(_OWN_UPDATE.sub("", text))) is not None


def is_restrictive(text: str) -> bool:
    """Whether SQL has the database refuse what it took before."""
    return _RESTRICTIVE.search(bare(text)) is not None
