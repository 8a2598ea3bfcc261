"""The words of pages, messages, mails and the shell, without phrasings that nobody uses."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.plan.gates import NoGuardrailHolds

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("rollout", "properties", "offers", "config")
# The wording of each pattern, and what to say instead.
BANNED = {
    r"\banew\b": "again, or a verb of its own: take another, rebuild",
    r"\bthere and back\b": "forward and back, round trip",
    r"\bput right\b": "repaired",
    r"\b(?:goes|go|going|went|gone) on\b": "continues",
    r"\bcom(?:e|es|ing) to (?:its|their|an) end\b": "finishes",
    r"\b(?:is|are|was|were) told\b": "shows, says, is reported",
    r"\blately\b": "recently, or a time",
    r"\bas (?:it|they) (?:was|were)\b": "unchanged, restored",
    r"\bin (?:its|the|their) way\b": "blocking",
    r"\bout of the way\b": "terminate, remove",
    r"\bcarr(?:y|ied|ies) out\b": "run, ran",
    r"\basked for by\b": "requested by",
    r"\bby (?:itself|themselves)\b": "automatically",
    r"\bunder way\b": "running, in progress",
    r"\bat work\b": "running",
    r"\btaken? up\b": "resumed, started",
    r"\btried out\b": "tested",
    r"\bNot now\b": "Cancel",
    r"\bLook at it\b": "Warning",
    r"\bNeeds you\b": "Action needed",
    r"\bBegan\b|\bBegun\b": "Started",
    r"\bIt may (?:not )?start\b": "Ready to start, Blocked: N gates",
    r"\bNothing is to\b": "say that no … is needed",
    r"\b(?:is|are) to be\b": "must be, should be",
    r"\bwhoever\b": "name the person",
    r"\bhence\b": "so",
    r"\b[Ss]ign(?:ed)?[- ](?:in|out)s?\b": "log in, logged in, login, as the button says",
    r"\bTogether\b": "Total",
    "\N{RIGHT SINGLE QUOTATION MARK}": "the straight apostrophe, as everywhere",
    r"\bno rule holds\b": "no guardrail blocks the next phase",
    r"\bso (?:long|many|young|much) (?:is|are|may|a|after)\b": "at most N, for N seconds",
}
# The same for comments, docstrings and names of tests.
BANNED_IN_NOTES = {
    r"\banew\b": "again",
    r"\bthere and back\b": "forward and back",
    r"\bput right\b": "repaired",
    r"\bgoes on\b": "continues",
    r"\bcarr(?:ied|ies) out\b": "run, runs",
    r"\btried out\b": "tested",
    r"\btaken up\b": "resumed, accepted",
    r"\b(?:is|are|was|were) to be\b": "must be, should be",
    r"\bwhere there (?:is|are) (?:no|none|nothing|one)\b": "if there is …",
    r"\bthat there (?:is|are) not\b": "unknown, that does not exist",
    r"\bbears?\b": "has, carries",
    r"\b(?:hence|lately)\b": "so, recently",
    r"\bsample (?:application|app|image|page)s?\b": "example: a sample is picked at random",
    r"\b[Ss]o (?:many|much|long|young) (?:is|are|may|after)\b": "at most N, for N seconds",
}
# Stored keys, which pages show by their labels.
KEYS = {gate.name for gate in (NoGuardrailHolds,)}


# What is counted agrees with its number: templates by ``pluralize``, messages by ``counted``.
_NOUN = (
    r"(?:rows|entries|operations|warnings|calls|values|mismatches|parts|tables|columns|sessions)\b"
)
_COUNTED = re.compile(
    r"(?<!of )(?<!bout )(?<!first )\{\{ [^}]*\}\} (?:\w+ )?" + _NOUN + r"(?!/)"
    r"|(?<!of )(?<!first )\{[^{}]+:,\} (?:shadow reads|consecutive failures|rows|calls|tables)\b"
)
_COUNTING = ("gates", "shadow", "watchdog", "worker")


def _literals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string that is not a statement of its own."""
    tree = ast.parse(path.read_text())
    statements = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if node not in statements and text not in KEYS:
                yield node.lineno, text


def _template_text(path: Path) -> Iterator[tuple[int, str]]:
    # Names in addresses are keys, not words.
    text = re.sub(r"{#.*?#}|<!--.*?-->|{% querystring .*?%}", "", path.read_text(), flags=re.DOTALL)
    yield from enumerate(text.splitlines(), 1)


def _texts() -> Iterator[tuple[str, int, str]]:
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                for line, text in _literals(path):
                    yield str(path.relative_to(ROOT)), line, text
    for path in sorted((ROOT / "templates").rglob("*")):
        if path.is_file():
            for line, text in _template_text(path):
                yield str(path.relative_to(ROOT)), line, text


def _notes() -> Iterator[tuple[str, int, str]]:
    """Yield place, line and text of each comment, docstring and name of a test."""
    anything = re.compile("|".join(BANNED_IN_NOTES))
    for folder in (*SOURCES, "bench", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text()
            # Most files have none of them anywhere, and need not be read word by word.
            if path != Path(__file__) and anything.search(source.replace("_", " ")):
                for line, text in _notes_of(source):
                    yield str(path.relative_to(ROOT)), line, text


def _notes_of(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text
            case ast.FunctionDef(name=name) if name.startswith("test_"):
                yield node.lineno, name.replace("_", " ")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def faults(texts: Iterator[tuple[str, int, str]], banned: dict[str, str] = BANNED) -> list[str]:
    """Return a line for each banned phrasing: its place, its words, and what to say instead."""
    # One search for the many texts that have none of them.
    anything = re.compile("|".join(banned))
    return [
        f"{place}:{line}: “{match.group()}” → {instead}"
        for place, line, text in texts
        if anything.search(text)
        for pattern, instead in banned.items()
        for match in re.finditer(pattern, text)
    ]


def test_pages_and_messages_have_no_banned_phrasing() -> None:
    assert not faults(_texts()), "\n" + "\n".join(faults(_texts()))


def test_comments_docstrings_and_names_of_tests_have_no_banned_phrasing() -> None:
    wrong = faults(_notes(), BANNED_IN_NOTES)
    assert not wrong, "\n" + "\n".join(wrong)


def test_notes_are_comments_docstrings_and_names_of_tests() -> None:
    source = 'def test_it_goes_on():\n    """Made anew."""\n    x = "put right"  # Taken up.\n'
    assert sorted(_notes_of(source)) == [
        (1, "test it goes on"),
        (2, "Made anew."),
        (3, "# Taken up."),
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("The snapshot is made anew.", "It went there and back", "3 gates in the way", "Not now"),
        "The plan\N{RIGHT SINGLE QUOTATION MARK}s rows",
    ],
)
def test_a_banned_phrasing_is_found(text: str) -> None:
    assert len(faults(iter([("a page", 1, text)]))) == 1


def test_counted_nouns_agree_with_their_number() -> None:
    paths = list((ROOT / "templates").rglob("*.html"))
    paths += [path for room in _COUNTING for path in (ROOT / "rollout" / room).glob("*.py")]
    wrong = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in paths
        for match in _COUNTED.finditer(path.read_text())
        # A table's rows are many, and written roughly.
        if "|roughly" not in match.group()
    ]
    assert not wrong, "\n".join(wrong)
