"""A report with mismatched rows, two of them hostile."""

from html import unescape

from django.test import Client
from django.utils.html import strip_tags

from rollout.models import AuditReport, Finding, Mismatch, Rollout
from tests.console.journal import audited, mismatching, text_of

HOSTILE = '=cmd|"<script>alert(1)</script>'

CELLS = [
    {"legacy": "House", "new": "House", "category": "ok", "rows": 90},
    {"legacy": HOSTILE, "new": "Flat", "category": "wrong", "rows": 2},
    {"legacy": None, "new": None, "category": "missing", "rows": 1},
]


def a_report(rollout: Rollout) -> AuditReport:
    report = audited(
        rollout,
        "mismatched",
        rows=93,
        matched=90,
        mismatched=3,
        stored_mismatches=3,
        categories={"ok": 90, "wrong": 2, "missing": 1},
        translations=[
            {
                "table": "properties",
                "column": "property_type_id",
                "legacy_column": "type",
                "lookup_table": "property_types",
                "categories": {"ok": 90, "wrong": 2, "missing": 1},
                "cells": CELLS,
            }
        ],
    )
    for number in (1, 2):
        a_row(report, f"key-{number}", legacy=HOSTILE, actual="Flat", category="wrong")
    a_row(report, "key-3", legacy=None, actual=None, category="missing")
    return report


def a_row(report: AuditReport, key: str, **fields: str | None) -> Mismatch:
    finding, _ = Finding.objects.get_or_create(
        rollout=report.rollout,
        table="properties",
        key=key,
        column="property_type_id",
        defaults={"category": "wrong", "first_report": report},
    )
    row = mismatching(report, key, column="property_type_id", expected="House", **fields)
    Mismatch.objects.filter(pk=row.pk).update(finding=finding, key_parts=[key])
    return row


def texts_of(client: Client, page: str) -> str:
    """What a person reads of a page."""
    return " ".join(unescape(strip_tags(text_of(client, page))).split())
