"""The pages of a mapping review: their addresses, and what stands in them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client

from tests.console.journal import PAGE, seen_in, text_of

LIST = f"{PAGE}mappings/"
TYPES = f"{LIST}properties/type/"
HOSTILE = '"><img src=x onerror=alert(1)>'


def fields_of(text: str) -> dict[str, str]:
    """What the form of the values would send as it stands."""
    pairs = re.findall(r'<input type="(?:hidden|text)" name="([^"]+)" value="([^"]*)"', text)
    return {name: value for name, value in pairs if name != "csrfmiddlewaretoken"}


def number_of(fields: dict[str, str], form: str) -> str:
    return next(n.removeprefix("form-") for n, v in fields.items() if v == form and "form-" in n)


def decisions_in(text: str) -> list[list[object]]:
    field = re.search(r'name="decisions" value="([^"]*)"', text)
    assert field is not None
    return json.loads(field[1].replace("&quot;", '"'))  # type: ignore[no-any-return]


def applied_by(preview: str) -> dict[str, Any]:
    """What the form of a preview sends."""
    return {"decisions": json.dumps(decisions_in(preview)), "seen": seen_in(preview)}


def preview(browser: Client, **typed: str) -> str:
    """The preview of decisions, typed into the page: form to name."""
    fields = fields_of(text_of(browser, TYPES))
    for form, name in typed.items():
        fields[f"name-{number_of(fields, form.replace('_', ' '))}"] = name
    response = browser.post(f"{TYPES}preview/", fields)
    assert response.status_code == 200, response.content
    return response.content.decode()


def write_around_the_triggers(*, rows: int = 1, skip: int = 0, **values: str) -> None:
    """Give some rows texts and no lookup row."""
    from tests.support import rollouts

    with rollouts.target() as other, other.transaction():
        other.execute("ALTER TABLE properties DISABLE TRIGGER USER")
        for column, text in values.items():
            other.execute(
                f"UPDATE properties SET {column} = %s, property_{column}_id = NULL WHERE id IN"
                " (SELECT id FROM properties ORDER BY id OFFSET %s LIMIT %s)".encode(),
                [text, skip, rows],
            )
        other.execute("ALTER TABLE properties ENABLE TRIGGER USER")


def audited(browser: Client) -> str:
    """The report of a full audit that somebody asked for on the page."""
    from rollout.models import AuditReport
    from tests.support import rollouts

    assert browser.post(f"{PAGE}audits/", {"mode": "full"}).status_code == 302
    rollouts.work()
    return text_of(browser, f"/rollout/audits/{AuditReport.objects.all()[0].pk}/")


def take_long_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database gives every count up, as it does those of a large table."""
    from psycopg import sql

    from rollout.engine import mapping
    from rollout.engine.mapping import texts, transactions

    real = texts.counts_of

    def slow(connection: Any, lookup: Any, condition: Any, **named: Any) -> dict[str, int] | None:
        return real(connection, lookup, sql.SQL("pg_sleep(5) IS NOT NULL"))

    monkeypatch.setattr(texts, "COUNT_SECONDS", 0.05)
    monkeypatch.setattr(transactions, "counts_of", slow)
    monkeypatch.setattr(mapping, "counts_of", slow)


def values_in(text: str) -> list[str]:
    """The values of the table, as they stand there."""
    table = text.partition("<tbody>")[2].partition("</tbody>")[0]
    shown = re.findall(r'<th scope="row">(<(code|span) .*?</\2>)', table)
    return [re.sub("<[^>]*>", "", element) for element, _ in shown]
