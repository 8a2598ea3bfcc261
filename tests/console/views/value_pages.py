"""The pages of values that do not convert: what their forms hold, and how decisions are saved."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.test import Client

from tests.console.journal import seen_in, text_of


def fields_of(browser: Client, address: str) -> dict[str, str]:
    """The hidden fields of the form, by their names."""
    return hidden_fields(browser.get(address).content.decode())


def hidden_fields(html: str) -> dict[str, str]:
    pairs = re.findall(r'<input type="hidden" name="((?:source|was)-\d+)" value="([^"]*)"', html)
    return {name: unescape(value) for name, value in pairs}


def preview(browser: Client, page: str, fields: dict[str, Any]) -> str:
    """What the preview of a form says; it answers 200."""
    response = browser.post(f"{page}preview/", fields)
    assert response.status_code == 200, response.content
    return response.content.decode()


def saved_by(shown: str) -> dict[str, str]:
    """What the form of a preview sends."""
    (decisions,) = set(re.findall(r'name="decisions" value="([^"]*)"', shown))
    return {"decisions": unescape(decisions), "seen": seen_in(shown)}


def decide(browser: Client, page: str, fields: dict[str, Any]) -> str:
    """Preview what a form holds, save it, and read the page that follows."""
    sent = saved_by(preview(browser, page, fields))
    response = browser.post(f"{page}decide/", sent)
    assert response.status_code == 302, response.content
    return text_of(browser, response["Location"])
