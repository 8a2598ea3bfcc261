"""Our own documents as HTML: the part of Markdown that they are written in, every text escaped.

Paragraphs, lists, tables, blocks of code, and within a line code, emphasis and links. What a page
of the documents links to besides itself is not here: of such a link the text remains.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

_INLINE = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<strong>.+?)\*\*|\*(?P<em>[^*]+)\*|\[(?P<text>[^]]+)\]\((?P<to>[^)]+)\)"
)
_ITEM = re.compile(r"(?P<mark>-|\d+\.) (?P<text>.*)")
_FENCE = "```"
_BREAKS = (_FENCE, "|", "#")


@dataclass(frozen=True)
class Chapter:
    """A chapter with its heading as HTML; the text before the first has none."""

    anchor: str
    title: SafeString
    html: SafeString


def chapters_of(text: str) -> list[Chapter]:
    """The chapters of a page: what its second-level headings begin. Its title is left out."""
    head, *others = re.split(r"^## ", text, flags=re.MULTILINE)
    chapters = [Chapter("", SafeString(""), html_of(re.sub(r"^# .*\n", "", head)))]
    for chapter in others:
        title, _, body = chapter.partition("\n")
        chapters.append(Chapter(anchor_of(title), _inline(title), html_of(body)))
    return chapters


def anchor_of(title: str) -> str:
    """The name of a heading in an address."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def html_of(text: str) -> SafeString:
    """The blocks of a text."""
    lines = deque(text.splitlines())
    blocks = []
    while lines:
        if not lines[0].strip():
            lines.popleft()
        elif lines[0].startswith(_FENCE):
            blocks.append(_code(lines))
        elif lines[0].startswith("|"):
            blocks.append(_table(lines))
        elif _ITEM.match(lines[0]):
            blocks.append(_list(lines))
        else:
            first = lines.popleft()
            more = _taken(lines, _continues)
            blocks.append(format_html("<p>{}</p>", _inline(" ".join([first, *more]))))
    return SafeString("\n".join(blocks))


def _continues(line: str) -> bool:
    """Whether a line continues the paragraph before it."""
    return bool(line.strip()) and not line.startswith(_BREAKS) and not _ITEM.match(line)


def _taken(lines: deque[str], belongs: Callable[[str], bool]) -> list[str]:
    """The next lines that belong to a block, without the spaces before them."""
    taken = []
    while lines and belongs(lines[0]):
        taken.append(lines.popleft().strip())
    return taken


def _code(lines: deque[str]) -> SafeString:
    lines.popleft()
    code = []
    while lines and not lines[0].startswith(_FENCE):
        code.append(lines.popleft())
    if lines:
        lines.popleft()
    return format_html('<pre tabindex="0"><code>{}</code></pre>', "\n".join(code))


def _table(lines: deque[str]) -> SafeString:
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in _taken(lines, lambda line: line.startswith("|"))
    )
    return format_html(
        '<div class="table-scroll"><table>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>",
        _repeated('<th scope="col">{}</th>', map(_inline, head)),
        _repeated("<tr>{}</tr>", (_repeated("<td>{}</td>", map(_inline, row)) for row in rows)),
    )


def _list(lines: deque[str]) -> SafeString:
    items, mark = [], "-"
    while lines and (item := _ITEM.match(lines[0])):
        lines.popleft()
        mark = item["mark"]
        more = _taken(lines, lambda line: line.startswith("  "))
        items.append(_inline(" ".join([item["text"], *more])))
    tag = SafeString("ul" if mark == "-" else "ol")
    return format_html("<{0}>{1}</{0}>", tag, _repeated("<li>{}</li>", items))


def _repeated(pattern: str, texts: Iterable[SafeString]) -> SafeString:
    return format_html_join("", pattern, ((text,) for text in texts))


def _inline(text: str) -> SafeString:
    """A line with its code, emphasis and links to its own page."""
    parts, at = [], 0
    for match in _INLINE.finditer(text):
        parts += [format_html("{}", text[at : match.start()]), _marked(match)]
        at = match.end()
    return SafeString("".join([*parts, format_html("{}", text[at:])]))


def _marked(match: re.Match[str]) -> SafeString:
    if match["code"] is not None:
        return format_html("<code>{}</code>", match["code"])
    if match["strong"] is not None:
        return format_html("<strong>{}</strong>", _inline(match["strong"]))
    if match["em"] is not None:
        return format_html("<em>{}</em>", _inline(match["em"]))
    words = _inline(match["text"])
    if not match["to"].startswith("#"):
        return words
    return format_html('<a href="{}">{}</a>', match["to"], words)
