"""Characters that a reader cannot see or tell apart, marked where values are shown."""

import re
import unicodedata

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString

from rollout.queries.look_alikes import LOOK_ALIKES

# Printable ASCII with single spaces inside: nothing to mark.
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_MARKS = {"\t": "⇥", "\n": "↵", "\r": "↵", "\N{NO-BREAK SPACE}": "⍽", " ": "·"}


def marked(text: str) -> SafeString:
    """A text with its stray white space, invisible characters and look-alikes in marked elements.

    The characters stay in the page, so that the text can be copied; each mark names its code point.
    """
    if _PLAIN.fullmatch(text):
        return escape(text)
    stray, is_mixed = _stray_spaces(text), _has_look_alikes(text)
    return format_html_join(
        "", "{}", ((_marked(c, at in stray, is_mixed),) for at, c in enumerate(text))
    )


def _stray_spaces(text: str) -> set[int]:
    """The places of spaces at an end or beside another one."""
    return {at for run in re.finditer(r"^ +| +$| {2,}", text) for at in range(*run.span())}


def _has_look_alikes(text: str) -> bool:
    """Whether they stand beside Latin letters or alone; words of their own script have others."""
    letters = [c for c in text if c.isalpha()]
    others = [c for c in letters if not unicodedata.name(c, "").startswith("LATIN")]
    return len(others) < len(letters) or all(c in LOOK_ALIKES for c in others)


def _marked(character: str, is_stray: bool, is_mixed: bool) -> str | SafeString:
    if (character == " " and is_stray) or _is_invisible(character):
        mark = '<span class="mark-hidden" data-mark="{}" title="{}">{}</span>'
        return format_html(mark, _MARKS.get(character, "◦"), _name(character), character)
    is_wide = "\uff01" <= character <= "\uff5e"
    if is_wide or (is_mixed and character in LOOK_ALIKES) or "\u0300" <= character <= "\u036f":
        return format_html(
            '<span class="mark-like" title="{}">{}</span>', _name(character), character
        )
    return character


def _is_invisible(character: str) -> bool:
    return character != " " and unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp")


def _name(character: str) -> str:
    name = unicodedata.name(character, "") or {"\t": "TAB", "\n": "LINE FEED"}.get(character, "")
    return f"U+{ord(character):04X} {name}".strip()
