"""What a page asks does not grow with what there is, and stays below fifteen queries."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.test import Client

from rollout.models import Rollout
from tests.console import journal
from tests.console.test_access import last_part
from tests.pages import addresses_of_the_console
from tests.servers import Database

MOST = 15
ON_DEMAND = ("preflight", "locks", "new")
"""Last parts of addresses that a page asks for by itself, or when somebody presses."""


@contextmanager
def counted() -> Iterator[list[str]]:
    """Every statement that goes to PostgreSQL, by whatever connection, but for settings."""
    sent: list[str] = []
    execute = psycopg.Cursor.execute

    def counting(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        text = query.decode() if isinstance(query, bytes) else str(query)
        if not text.startswith("SET "):
            sent.append(text)
        return execute(self, query, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", counting)
        yield sent


def queries_of(browser: Client, address: str) -> list[str]:
    # What a process learns once is none of the page's.
    assert browser.get(address).status_code == 200, address
    with counted() as sent:
        browser.get(address)
    return sent


def more(rollout: Rollout) -> None:
    """More of everything that lists show."""
    for number in range(6):
        run = journal.ran(rollout, 1, "failed", error=f"no {number}")
        step = journal.reached(run, "expand", "failed", error=f"no {number}")
        journal.ended_job(step)
        report = journal.audited(rollout, "mismatched", mismatched=1, stored_mismatches=1)
        journal.mismatching(report, str(number))
        journal.restored(journal.taken(rollout), state="done")
        journal.reviewed(rollout)
        journal.told(journal.noted(rollout))


def test_no_page_asks_more_when_there_is_more(committed_db: Database) -> None:
    rollout = journal.the_rollout()
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    pages = [
        address
        for address in ["/rollout/", *addresses_of_the_console(rollout)]
        if last_part(address) not in ON_DEMAND
    ]
    more(rollout)
    before = {address: queries_of(browser, address) for address in pages}
    more(rollout)
    after = {address: queries_of(browser, address) for address in pages}
    grown = {a: (len(before[a]), len(after[a])) for a in pages if len(after[a]) > len(before[a])}
    assert not grown
    many = {a: "\n".join(sent) for a, sent in after.items() if len(sent) >= MOST}
    assert not many, "\n\n".join(f"{address}\n{sent}" for address, sent in many.items())
