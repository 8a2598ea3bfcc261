"""Our own documents as HTML: what they are made of, and nothing that a text could smuggle in."""

import re

import pytest

from rollout.console.markdown import anchor_of, chapters_of, html_of


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Two\nlines.", "<p>Two lines.</p>"),
        ("One.\n\nTwo.", "<p>One.</p>\n<p>Two.</p>"),
        ("**Do** wait: *now* or `a*b*c`.", "<strong>Do</strong> wait: <em>now</em> or <code>a*b*c"),
        ("- One\n  more\n- Two", "<ul><li>One more</li><li>Two</li></ul>"),
        ("1. One\n2. Two", "<ol><li>One</li><li>Two</li></ol>"),
        ("Read:\n- One", "<p>Read:</p>\n<ul><li>One</li></ul>"),
        ("```sh\na < b\n\nc\n```\nAfter.", "<code>a &lt; b\n\nc</code></pre>\n<p>After.</p>"),
        ("| a | b |\n|---|---|\n| 1 | *2* |", "<tr><td>1</td><td><em>2</em></td></tr>"),
        ("[a lock](#a-lock)", '<a href="#a-lock">a lock</a>'),
        ("[the logs](logs.md)", "<p>the logs</p>"),
        ("[x](javascript:alert)", "<p>x</p>"),
        ('<b> & "`<i>`"', "&lt;b&gt; &amp; &quot;<code>&lt;i&gt;</code>&quot;"),
    ],
)
def test_a_block_becomes_html(text: str, html: str) -> None:
    assert html in html_of(text)


def test_a_page_is_divided_by_its_headings() -> None:
    head, chapter = chapters_of("# Page\n\nFirst.\n\n## The log's `x`, here\n\nSecond.\n")
    assert (head.anchor, head.html) == ("", "<p>First.</p>")
    assert chapter.anchor == anchor_of("The log's x, here") == "the-logs-x-here"
    assert (chapter.title, chapter.html) == (
        "The log&#x27;s <code>x</code>, here",
        "<p>Second.</p>",
    )


def test_a_text_without_an_end_of_its_code_is_shown_to_its_end() -> None:
    assert html_of("```\na") == '<pre tabindex="0"><code>a</code></pre>'
    assert not re.search(r"<(?!/?(p|ul|li))", html_of("- <script>\n- `"))
