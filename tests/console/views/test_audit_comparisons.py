"""Two reports of an audit side by side."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout.models import AuditReport, Rollout
from tests.console.journal import audited, browser_of, text_of

pytestmark = pytest.mark.django_db


class TestComparisons:
    def test_categories_and_pairs_that_differ_are_shown_side_by_side(
        self, rollout: Rollout, report: AuditReport
    ) -> None:
        clean = audited(rollout, rows=93, categories={"ok": 93}, translations=[])
        text = text_of(browser_of("viewer"), f"/rollout/audits/{report.pk}/compare/{clean.pk}/")
        assert "\N{MINUS SIGN}2" in text
        assert "+3" in text

    def test_columns_of_no_lookup_have_counts_and_no_values(
        self, rollout: Rollout, report: AuditReport
    ) -> None:
        cell = {"legacy": None, "new": None, "category": "ok"}
        currency = {"table": "properties", "column": "currency", "lookup_table": ""}
        earlier, later = (
            audited(
                rollout, rows=rows, translations=[{**currency, "cells": [{**cell, "rows": rows}]}]
            )
            for rows in (90, 113)
        )
        address = f"/rollout/audits/{earlier.pk}/compare/{later.pk}/"
        text = text_of(browser_of("viewer"), address)
        assert "<code>currency</code>" in text
        assert "NULL" not in text
        assert text.count("+23") == 2, "of the column, and of the total"
        assert "mapp" not in text.split("<h1>")[1].split("</header>")[0]

    def test_only_what_people_changed_is_a_change_of_the_mapping(
        self, rollout: Rollout, report: AuditReport
    ) -> None:
        now = timezone.now()
        first = audited(rollout, mapping_digest="a", mapping_at=now, translations=[])
        second = audited(rollout, mapping_digest="b", mapping_at=now, translations=[])
        later = now + timedelta(minutes=1)
        third = audited(rollout, mapping_digest="c", mapping_at=later, translations=[])
        client = browser_of("viewer")
        for other, sentence in (
            (second, "New values came to the mapping between these audits; nobody changed a dec"),
            (third, "People changed the mapping between these audits."),
        ):
            address = f"/rollout/audits/{first.pk}/compare/{other.pk}/"
            assert sentence in text_of(client, address)

    def test_only_finished_audits_of_one_rollout_can_be_compared(
        self, rollout: Rollout, report: AuditReport
    ) -> None:
        running = audited(rollout, "running")
        other = audited(Rollout.objects.create(plan=rollout.plan, environment="elsewhere"))
        client = browser_of("viewer")
        for number in (running.pk, other.pk, 99_999):
            address = f"/rollout/audits/{report.pk}/compare/{number}/"
            assert client.get(address).status_code == 404
