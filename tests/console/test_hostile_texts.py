"""Texts that come from the data do nothing in a page, whatever they are."""

import csv
import io
import re
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection, models
from django.test import Client

from properties import catalog
from rollout.models import LogEntry, Rollout
from tests.console import journal
from tests.support.pages import OF_THE_SITE, addresses_of_the_console, inline_in, tags_in

HOSTILE = "<xss-was-here onclick=alert(1)>\"'><script>alert(1)</script>{{ 7|add:7 }}"
FORMULA = '=HYPERLINK("https://evil.example")'
NAMES = {
    *("plan", "environment", "table", "column", "legacy_column", "step", "rule", "event"),
    *("storage_name", "sha256", "plan_digest", "kind", "category", "action", "name", "mode"),
    *("direction", "key", "operation"),
}
"""Of things in code: they are the plan's, or the database's catalog has them."""


def spoilt(value: Any) -> Any:
    """A JSON value in which every text is hostile, but for names."""
    if isinstance(value, dict):
        return {k: v if k in NAMES or k == "lookup_table" else spoilt(v) for k, v in value.items()}
    if isinstance(value, list):
        return [spoilt(part) for part in value]
    return HOSTILE if isinstance(value, str) else value


def spoil_the_journal() -> None:
    """Put a hostile text wherever the journal holds one that is not a name."""
    for model in apps.get_app_config("rollout").get_models():
        if model is LogEntry:
            continue
        for row in model._default_manager.all():
            for field in model._meta.concrete_fields:
                value = getattr(row, field.name)
                if isinstance(field, models.JSONField):
                    setattr(row, field.name, spoilt(value))
                elif (
                    isinstance(field, models.CharField | models.TextField)
                    and not field.choices
                    and field.name not in NAMES
                ):
                    setattr(row, field.name, HOSTILE[: field.max_length])
            row.save()


SQL = re.compile(r"ALTER TABLE|UPDATE \S+ (AS )?\w+ ?SET|CREATE (TABLE|INDEX|TRIGGER)|DROP \w+ ")


@pytest.fixture
def browser(bare: Rollout) -> Client:
    """Of a superuser with a hostile name, so that every page shows all that it has."""
    client = Client()
    client.force_login(User.objects.create_superuser(HOSTILE))
    return client


@pytest.fixture
def pages(bare: Rollout) -> list[str]:
    """Every page, with hostile texts in all that it shows."""
    listing = catalog.create_property(
        {"title": HOSTILE, "type": HOSTILE, "status": HOSTILE, "description": HOSTILE}
    )
    addresses = addresses_of_the_console(bare)
    failed = journal.ran(bare, 2, "failed", error=HOSTILE, advice=HOSTILE, actor_name=HOSTILE)
    step = journal.reached(failed, "backfill", "failed", error=HOSTILE, result=HOSTILE)
    job = journal.job_of(step)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rollout.quarantine (job, key, error) VALUES (%s, %s, %s)",
            [job.pk, [HOSTILE], HOSTILE],
        )
    journal.noted(bare, HOSTILE[:40], message=HOSTILE, actor=HOSTILE)
    spoil_the_journal()
    return [
        *addresses,
        *OF_THE_SITE,
        f"/rollout/jobs/{job.pk}/",
        *(f"{journal.PAGE}phases/{number}/" for number in (1, 2, 3, 4)),
        f"/rollout/log/?text={HOSTILE}&phase={HOSTILE}",
        f"/properties/?text={HOSTILE}",
        f"/properties/{listing.id}/",
        f"/properties/{listing.id}/edit/",
        f"/admin/rollout/phaserun/{failed.pk}/change/",
        f"/accounts/login/?next={HOSTILE}",
        f"/nowhere/{HOSTILE}",
    ]


def test_no_page_has_anything_inline_and_none_sends_sql_whatever_the_data_say(
    browser: Client, pages: list[str]
) -> None:
    shown = with_sql = 0
    sent: set[str] = set()
    for address in pages:
        answer = browser.get(address)
        assert answer.status_code == (404 if "/nowhere/" in address else 200), address
        html = answer.content.decode()
        assert not inline_in(html), address
        assert "xss-was-here" not in tags_in(html), address
        shown += "&lt;xss-was-here" in html
        with_sql += bool(SQL.search(html))
        # What a page shows to be run is made by the plan; a browser sends none of it back.
        for form in re.findall(r"<form.*?</form>", html, re.DOTALL):
            assert not SQL.search(form), address
            sent |= set(re.findall(r' name="(\w+)"', form))
    assert not sent & {"sql", "query", "statement", "where", "expression", "condition"}
    assert shown > 30, "the hostile texts are not where they were to be"
    assert with_sql > 2, "no page shows SQL any more"


def test_no_cell_of_a_download_is_a_formula(bare: Rollout, browser: Client) -> None:
    report = journal.audited(bare, "mismatched", stored_mismatches=1)
    journal.mismatching(report, FORMULA, legacy=FORMULA, expected="@SUM(1)", actual="\t=1")
    catalog.create_property({"title": "A house", "type": FORMULA, "status": "-1+1"})
    downloads = [
        f"/rollout/audits/{report.pk}/export.csv",
        f"{journal.PAGE}mappings/properties/type/export.csv",
        f"{journal.PAGE}mappings/properties/status/export.csv",
    ]
    dangerous = 0
    for address in downloads:
        answer = browser.get(address)
        assert answer.status_code == 200, address
        assert answer["Content-Disposition"].startswith("attachment")
        text = b"".join(answer).decode("utf-8-sig")
        for row in csv.reader(io.StringIO(text)):
            assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
            dangerous += sum(cell.startswith("'") for cell in row)
    assert dangerous >= 5
