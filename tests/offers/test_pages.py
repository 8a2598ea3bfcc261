"""The demo with its second rollout: the list has two, and a lead carries it forward and back."""

from __future__ import annotations

import re
from collections import Counter
from threading import Event
from typing import TYPE_CHECKING

from offers import book
from offers.generated import NO_NUMBERS, OFFERS
from offers.traffic import run, traffic
from rollout.models import AuditReport, Measurement, RunState
from rollout.telemetry.recorder import recorder
from tests.console import journal
from tests.console.views import value_pages
from tests.support import rollouts

if TYPE_CHECKING:
    from django.test import Client

    from rollout.models import Rollout

PAGE = "/rollout/offer-prices/production/"
VALUES = f"{PAGE}values/offers/price_cents/"


def prices() -> dict[int, str | None]:
    with rollouts.target() as connection:
        return dict(connection.execute("SELECT id, price FROM offers").fetchall())


def decide(browser: Client) -> None:
    """Two texts are prices; the others are none."""
    fields = value_pages.fields_of(browser, VALUES)
    for name, value in list(fields.items()):
        kind, _, number = name.partition("-")
        if kind == "source":
            cents = {'["1.2m"]': "120000000", '["850k"]': "85000000"}.get(value)
            fields |= {f"value-{number}-0": cents} if cents else {f"empty-{number}": "on"}
    assert "6 decisions saved." in value_pages.decide(browser, VALUES, fields)


def test_the_list_has_both_rollouts_and_the_guide_stays_with_the_first(demo_lead: Client) -> None:
    rows = journal.text_of(demo_lead, "/rollout/").split("<tbody>")[1]
    assert 0 < rows.index("Property classification") < rows.index("Offer prices")
    assert "Guide to this demo" in journal.text_of(demo_lead, journal.PAGE)
    page = journal.text_of(demo_lead, PAGE)
    assert "Guide to this demo" not in page, "its buttons act on the other rollout"
    assert f"{PAGE}phases/0/start/" in page


def test_the_page_of_the_offers_needs_a_log_in(demo_lead: Client) -> None:
    assert demo_lead.get("/offers/").status_code == 200
    demo_lead.logout()
    assert demo_lead.get("/offers/").url.startswith("/accounts/login/")  # type: ignore[attr-defined]


def test_operations_of_the_offers_are_measured_under_their_plan(demo_lead: Client) -> None:
    # What other tests have measured in this process.
    recorder.flush()
    Measurement.objects.all().delete()
    waits = iter([False] * 20)

    class Stop(Event):
        def wait(self, timeout: float | None = None) -> bool:
            return next(waits, True)

    run(Stop(), rate=1_000)
    assert demo_lead.get("/offers/").status_code == 200
    recorder.flush()
    names = {"list-offers", "make-offer", "change-price"}
    measured = Measurement.objects.filter(operation__in=names)
    assert set(measured.values_list("plan", flat=True)) == {book.PLAN}
    assert sum(measured.values_list("calls", flat=True)) == 21
    assert "list-offers" in journal.text_of(demo_lead, f"{PAGE}monitoring/")
    assert "list-offers" not in journal.text_of(demo_lead, f"{journal.PAGE}monitoring/")


def test_the_generator_plants_texts_that_people_have_to_decide_about(demo_lead: Client) -> None:
    planted = Counter(price for price in prices().values() if price in NO_NUMBERS)
    assert (len(prices()), planted) == (OFFERS, NO_NUMBERS)
    rows = journal.text_of(demo_lead, VALUES).split("<tbody>")[1].split("<tr")[1:]
    listed = {}
    for row in rows:
        (source,) = (v for k, v in value_pages.hidden_fields(row).items() if k.startswith("source"))
        listed[source] = re.findall(r'<td class="number">(\d+)</td>', row)
    assert listed == {f'["{text}"]': [str(number)] for text, number in NO_NUMBERS.items()}


def test_a_lead_carries_it_to_phase_4_and_back_while_offers_are_made(
    demo_lead: Client, offer_prices: Rollout
) -> None:
    before = prices()
    none, million = (
        next(key for key, price in before.items() if price == text) for text in ("n/a", "1.2m")
    )
    make = traffic(using="default", seed=3)

    def offers_are_made() -> None:
        for _ in range(20):
            make()
        assert demo_lead.get("/offers/").status_code == 200

    offers_are_made()
    rollouts.carry_out(offer_prices, 0, 1)
    offers_are_made()
    rollouts.work_off(rollouts.start(offer_prices, 2), RunState.FAILED)
    assert "Decide about values that do not convert" in journal.text_of(
        demo_lead, "/rollout/inbox/"
    )
    audit = journal.text_of(demo_lead, AuditReport.objects.get().get_absolute_url())
    assert "for decisions about" in audit
    assert f'<a class="no-print" href="{VALUES}' in audit
    decide(demo_lead)
    rollouts.carry_back(offer_prices, 2)
    rollouts.carry_out(offer_prices, 2)
    assert book.get_offer(million).shown_price == "1.2m"
    offers_are_made()
    rollouts.carry_out(offer_prices, 3)
    assert book.get_offer(million).shown_price == "1,200,000.00"
    assert book.get_offer(none).shown_price == ""
    assert "called <code>price</code> since the cutover" in journal.text_of(demo_lead, VALUES)
    offers_are_made()
    rollouts.carry_out(offer_prices, 4)
    offers_are_made()
    mappings = journal.text_of(demo_lead, f"{PAGE}mappings/")
    assert "None; phase 4 has archived the legacy values" in mappings
    assert "Not converted yet" not in mappings
    values = journal.text_of(demo_lead, VALUES)
    assert "Values cannot be decided on at present." in values
    assert "called <code>price</code> since the cutover" in values
    assert "120000000" in values, "what was decided is still to be read"
    assert 'as legacy <code>price</code>: <code class="value">1200000.00' in " ".join(
        values.split()
    )
    page = journal.text_of(demo_lead, PAGE)
    assert "Rollout complete" in page
    assert "Model fields of dropped columns" not in page, "price is a column still"
    rollouts.carry_back(offer_prices, 4, 3, 2, 1, 0)
    offers_are_made()
    after = prices()
    assert {key: after[key] for key in before} == before
    assert len(after) > len(before) + 30


def test_a_rollback_after_the_cutover_says_once_what_becomes_of_each_real_column(
    demo_lead: Client, offer_prices: Rollout
) -> None:
    for phase in range(5):
        journal.ran(offer_prices, phase)
    of_phase_4 = journal.text_of(demo_lead, f"{PAGE}phases/4/roll-back/")
    assert "<strong>Restored exactly</strong>: <code>offers.price_legacy</code>; " in of_phase_4
    text = journal.text_of(demo_lead, f"{PAGE}phases/1/roll-back/")
    assert "<strong>Restored exactly</strong>: <code>offers.price</code>; " in text
    assert "<strong>Not lost</strong>: <code>offers.price_cents</code>; the rollback of" in text
    for false in ("<strong>Lost", "<strong>Restored</strong>", "phase 3 drops", "without an arch"):
        assert false not in text, false


def test_the_rollback_of_a_cutover_that_hands_names_on_asks_for_no_name(
    demo_lead: Client, offer_prices: Rollout
) -> None:
    for phase in range(4):
        journal.ran(offer_prices, phase)
    text = journal.text_of(demo_lead, f"{PAGE}phases/3/roll-back/")
    assert 'name="typed"' not in text
    assert "<strong>Lost" not in text
