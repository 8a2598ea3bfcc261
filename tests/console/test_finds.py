"""Finding pages, actions, objects and rows from anywhere."""

import re

from django.contrib.auth import get_user_model
from django.test import Client

from rollout.console.finds import PAGES
from rollout.console.headers import TABS
from rollout.models import Finding, Rollout
from tests.console import journal
from tests.console.journal import PAGE, fragment_of, ran, text_of

FIND = "/rollout/find/"


def links(client: Client, text: str) -> list[str]:
    """The addresses of the results for a text, in order."""
    return re.findall(
        r'<a href="([^"]+)"><span class="kind', fragment_of(client, f"{FIND}?q={text}")
    )


def test_words_find_pages_and_the_next_action(rollout: Rollout, lead: Client) -> None:
    ran(rollout, 0)
    assert links(lead, "mapping+review+production") == [f"{PAGE}mappings/"]
    assert links(lead, "START+phase")[0] == f"{PAGE}phases/1/start/"
    assert f"{PAGE}monitoring/" in links(lead, "")
    assert f"{PAGE}phases/0/roll-back/" not in links(lead, "roll+back"), "it changed nothing"
    ran(rollout, 1)
    assert links(lead, "roll+back")[0] == f"{PAGE}phases/1/roll-back/"
    assert "Nothing matches “elephant”." in text_of(lead, f"{FIND}?q=elephant")


def test_every_tab_but_that_of_the_phases_is_a_page_to_find() -> None:
    assert TABS.keys() - {page for page, _, _ in PAGES} == {"phase"}


def test_a_page_is_found_by_what_people_look_for_there(rollout: Rollout, lead: Client) -> None:
    entry = "/rollout/runbook/#an-audit-found-mismatches"
    term = "/rollout/glossary/#mismatch"
    assert links(lead, "mismatch") == [f"{PAGE}audits/", entry, term]
    assert links(lead, "p95+latency") == [f"{PAGE}monitoring/"]
    audit = journal.audited(rollout, "mismatched", mismatched=12)
    assert links(lead, "mismatch") == [audit.get_absolute_url(), f"{PAGE}audits/", entry, term]
    assert f"Repair 12 mismatched rows of audit {audit.pk}" in fragment_of(lead, f"{FIND}?q=rep")


def test_terms_and_pages_of_no_rollout_are_found(rollout: Rollout, lead: Client) -> None:
    assert links(lead, "soak")[-1] == "/rollout/glossary/#soak"
    assert f"{PAGE}phases/3/" in links(lead, "soak")
    assert links(lead, "pause")[0] == PAGE
    assert links(lead, "glossary") == ["/rollout/glossary/"]
    assert links(lead, "notif") == ["/rollout/notifications/"]


def test_a_number_finds_objects_and_a_key_finds_mismatches(rollout: Rollout, lead: Client) -> None:
    audit = journal.audited(rollout)
    snapshot = journal.taken(rollout)
    finding = Finding.objects.create(
        rollout=rollout, table="properties", key="abc-1", column="type", category="wrong"
    )
    assert links(lead, f"audit+{audit.pk}") == [audit.get_absolute_url()]
    assert snapshot.get_absolute_url() in links(lead, f"%23{snapshot.pk}")
    assert links(lead, "abc-1") == [finding.get_absolute_url()]
    assert links(lead, "abc") == []
    assert links(lead, "audit+99999999999999999999") == []


def test_results_are_of_environments_that_the_user_may_see(rollout: Rollout, db: None) -> None:
    audit = journal.audited(rollout)
    nobody = Client()
    nobody.force_login(get_user_model().objects.create_user("stranger"))
    assert nobody.get(f"{FIND}?q=audit+{audit.pk}").status_code == 403


def test_queries_do_not_grow_with_the_rows_found(rollout: Rollout, lead: Client) -> None:
    def queries() -> int:
        return journal.queries_of(lambda: links(lead, "7"))

    queries()
    before = queries()
    for column in ("type", "status", "currency"):
        Finding.objects.create(
            rollout=rollout, table="properties", key="7", column=column, category="wrong"
        )
    assert len(links(lead, "7")) >= 3
    assert queries() == before


def test_a_text_is_shown_as_text(lead: Client) -> None:
    text = lead.get(FIND, {"q": "<script>x</script>"}).content.decode()
    assert "<script>x" not in text
    assert "&lt;script&gt;x" in text


def test_a_text_finds_the_legacy_values_that_contain_it(filled: Rollout, lead: Client) -> None:
    values = f"{PAGE}mappings/properties/type/?q="
    assert [link.lower() for link in links(lead, "aPT")] == [f"{values}apt"]
    assert [link for link in links(lead, "house") if link.startswith(f"{values}House")]
    # A value of one letter, or none, is in each.
    assert not [link for link in links(lead, "a") if "?q=" in link]
    assert "Nothing matches" in text_of(lead, f"{FIND}?q=+%25+")
