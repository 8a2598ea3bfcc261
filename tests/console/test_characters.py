import re

import pytest

from rollout.console.charts.cells import value


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("House & <b>", []),
        ("Häuschen", []),
        ("Дом", []),
        ("House ", ["U+0020 SPACE"]),
        ("a  b", ["U+0020 SPACE", "U+0020 SPACE"]),
        ("h\t", ["U+0009 TAB"]),
        ("h\u00a0", ["U+00A0 NO-BREAK SPACE"]),
        ("u\u200b", ["U+200B ZERO WIDTH SPACE"]),
        ("\u0405", ["U+0405 CYRILLIC CAPITAL LETTER DZE"]),
        ("H\u043euse", ["U+043E CYRILLIC SMALL LETTER O"]),
        ("\uff54", ["U+FF54 FULLWIDTH LATIN SMALL LETTER T"]),
        ("cafe\u0301", ["U+0301 COMBINING ACUTE ACCENT"]),
    ],
)
def test_characters_that_cannot_be_seen_or_told_apart_are_marked_by_code_point(
    text: str, marks: list[str]
) -> None:
    shown = value(text)
    assert re.findall(r'title="([^"]*)"', shown) == marks
    plain = re.sub(r"<[^>]*>", "", shown)
    assert plain == text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
