"""A header that is opened by itself."""

from django.test import Client

from rollout.models import Rollout
from tests.console import journal
from tests.console.journal import PAGE


def test_a_header_that_is_opened_by_itself_leads_to_its_page_and_to_no_other_site(
    rollout: Rollout, lead: Client
) -> None:
    for page, leads_to in [(f"{PAGE}jobs/", f"{PAGE}jobs/"), ("//evil.example/", PAGE), ("", PAGE)]:
        answer = lead.get(f"{PAGE}header/", {"name": "jobs", "page": page})
        assert (answer.status_code, answer["Location"]) == (302, leads_to)
    hostile = {"name": '"><script>', "page": "https://evil.example/"}
    html = lead.get(f"{PAGE}header/", hostile, headers=journal.HTMX).content.decode()
    assert "evil.example" not in html
    assert "<script>" not in html
