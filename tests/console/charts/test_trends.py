"""Mismatched rows from one full audit to the next, above the list and below a report."""

import re

import pytest

from rollout.models import Rollout
from tests.console.journal import PAGE, audited, browser_of, text_of

pytestmark = pytest.mark.django_db


def bars_of(address: str) -> list[tuple[str, str]]:
    """The address of each bar, with its words."""
    text = text_of(browser_of("viewer"), address)
    (trend,) = re.findall(r'<ol class="trend">.*?</ol>', text, re.DOTALL)
    links = re.findall(r'<a href="([^"]+)"(.*?)</a>', trend, re.DOTALL)
    return [(link, " ".join(re.sub(r"<[^>]*>", "", rest).split())) for link, rest in links]


def test_each_full_audit_is_a_bar_that_leads_to_its_report(rollout: Rollout) -> None:
    reports = [
        audited(rollout, "mismatched" if rows else "clean", mismatched=rows)
        for rows in (0, 1200, 7)
    ]
    audited(rollout, mode="sampled")
    bars = bars_of(f"{PAGE}audits/")
    assert [link for link, _ in bars] == [report.get_absolute_url() for report in reports]
    for (_, words), rows in zip(bars, ("0", "1,200", "7"), strict=True):
        assert f"{rows} mismatched" in words


def test_a_report_marks_its_own_bar(rollout: Rollout) -> None:
    audited(rollout)
    report = audited(rollout, "mismatched", mismatched=3)
    current = [link for link, words in bars_of(report.get_absolute_url()) if "page" in words]
    assert current == [report.get_absolute_url()]


def test_one_audit_is_no_trend_and_clean_ones_are_a_sentence(rollout: Rollout) -> None:
    client, address = browser_of("viewer"), f"{PAGE}audits/"
    audited(rollout)
    assert 'id="trend"' not in text_of(client, address)
    audited(rollout)
    text = text_of(client, address)
    assert "No mismatched rows in the last 2 full audits." in text
    assert 'class="trend"' not in text
