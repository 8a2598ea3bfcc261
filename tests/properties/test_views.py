from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from properties import catalog
from properties.example_images import example_png
from properties.listings import Filters
from tests.properties.shapes import ShapeName

LIST = "/properties/"
ROOT = Path(__file__).parents[2]
NOBODY = "00000000-0000-4000-8000-000000000000"


def some_property() -> str:
    created = catalog.create_property(
        {"title": "A <home>", "type": "Loft", "status": "Active", "address": "1 Main St"}
    )
    return f"/properties/{created.id}/"


@pytest.mark.parametrize("page", ["", "new/", f"{NOBODY}/", f"{NOBODY}/edit/"])
def test_every_page_asks_who_is_there(client: Client, page: str) -> None:
    response = client.get(f"/properties/{page}")
    assert response.status_code == 302
    assert response.headers["Location"].startswith(reverse("login"))


def test_the_list_shows_listings_and_facets(signed_in: Client, shape: ShapeName) -> None:
    some_property()
    page = signed_in.get(LIST).content.decode()
    assert "A &lt;home&gt;" in page
    assert '<a href="?type=Loft">Loft</a>' in page
    assert '<a href="?status=Active">Active</a>' in page


def test_a_search_narrows_the_list_and_pages_keep_it(signed_in: Client, shape: ShapeName) -> None:
    for number in range(catalog.PAGE_SIZE + 1):
        catalog.create_property({"title": f"Loft number {number}", "type": "Loft"})
    catalog.create_property({"title": "House", "type": "House"})
    page = signed_in.get(LIST, {"text": "number", "type": "LOFT"})
    assert b"House</a>" not in page.content.split(b"<aside")[0]
    older = page.context["page"].next
    assert f"?text=number&amp;type=LOFT&amp;after={older}" in page.content.decode()
    last = signed_in.get(LIST, {"text": "number", "type": "LOFT", "after": str(older)})
    assert [listing.title for listing in last.context["page"].listings] == ["Loft number 0"]


def test_an_empty_list_says_what_to_do(signed_in: Client) -> None:
    assert "Add the first one" in signed_in.get(LIST).content.decode()
    assert "Show all" in signed_in.get(LIST, {"text": "nothing"}).content.decode()


@pytest.mark.parametrize(
    "query",
    [
        *({"text": "a\0b"}, {"text": "NY"}, {"text": "a_b %%%"}),
        *({"price_from": "cheap"}, {"type": "x" * 200}, {"price_to": "1e99"}),
    ],
)
def test_a_search_that_makes_no_sense_says_so(signed_in: Client, query: dict[str, str]) -> None:
    response = signed_in.get(LIST, query)
    assert response.status_code == 200
    assert "Fix the highlighted fields to search" in response.content.decode()
    assert 'class="errorlist"' in response.content.decode()


@pytest.mark.parametrize("place", ["x", "1.2", f"{10**40}.{NOBODY}"])
def test_a_page_that_cannot_be_is_not_found(signed_in: Client, place: str) -> None:
    assert signed_in.get(LIST, {"after": place}).status_code == 404
    assert signed_in.get(LIST, {"before": place}).status_code == 404


@pytest.mark.parametrize("page", ["", "edit/"])
def test_an_unknown_property_is_not_found(signed_in: Client, page: str) -> None:
    assert signed_in.get(f"/properties/{NOBODY}/{page}").status_code == 404
    assert signed_in.get(f"/properties/not-a-uuid/{page}").status_code == 404


def test_a_property_is_created_shown_and_edited(signed_in: Client, shape: ShapeName) -> None:
    sent = {"title": "New home", "type": " Loft ", "status": "", "price": "1234567.50"}
    response = signed_in.post("/properties/new/", sent, follow=True)
    page = response.content.decode()
    assert "“New home” was added." in page
    assert "$1,234,567.50" in page
    address = response.redirect_chain[-1][0]
    edited = signed_in.post(f"{address}edit/", sent | {"status": "Sold"}, follow=True)
    assert "“New home” was saved." in edited.content.decode()
    assert '<span class="badge">Sold</span>' in edited.content.decode()


def test_the_edit_form_holds_what_is_there(signed_in: Client, shape: ShapeName) -> None:
    created = catalog.create_property({"title": "A home", "type": "Loft", "status": None})
    form = signed_in.get(f"/properties/{created.id}/edit/").context["form"]
    assert (form["title"].value(), form["type"].value()) == ("A home", "Loft")
    assert form["status"].value() is None


@pytest.mark.parametrize("change", [{"title": ""}, {"title": "a\0b"}, {"price": "cheap"}])
def test_a_bad_value_comes_back_with_the_form(signed_in: Client, change: dict[str, str]) -> None:
    address = some_property()
    for page in ("/properties/new/", f"{address}edit/"):
        response = signed_in.post(page, {"title": "B", "type": "House"} | change)
        assert response.status_code == 200
        assert 'class="errorlist"' in response.content.decode()
    assert len(catalog.search(Filters()).listings) == 1
    assert catalog.search(Filters()).listings[0].title == "A <home>"


def test_an_empty_post_is_an_error_not_a_blank_form(signed_in: Client) -> None:
    assert "This field is required." in signed_in.post("/properties/new/").content.decode()


def test_an_image_is_uploaded_and_shown(signed_in: Client, shape: ShapeName) -> None:
    address = some_property()
    upload = SimpleUploadedFile("home.png", example_png().read())
    page = signed_in.post(f"{address}images/", {"image": upload}, follow=True).content.decode()
    assert "Image added." in page
    assert '<img src="/media/properties/' in page


@pytest.mark.parametrize("content", [b"not an image", b""])
def test_a_file_that_is_no_image_gets_a_reason(signed_in: Client, content: bytes) -> None:
    address = some_property()
    upload = SimpleUploadedFile("home.png", content)
    page = signed_in.post(f"{address}images/", {"image": upload})
    assert page.status_code == 200
    assert 'class="errorlist"' in page.content.decode()


def test_an_image_for_no_property_is_not_found(signed_in: Client) -> None:
    upload = SimpleUploadedFile("home.png", example_png().read())
    response = signed_in.post(f"/properties/{NOBODY}/images/", {"image": upload})
    assert response.status_code == 404


def test_a_verb_that_makes_no_sense_is_refused(signed_in: Client) -> None:
    address = some_property()
    assert signed_in.post(LIST).status_code == 405
    assert signed_in.get(f"{address}images/").status_code == 405


def test_the_pages_share_no_more_than_basic_components_with_the_console() -> None:
    """A class of both would give one the layout of the other: a palette's, to a list of homes."""
    basic = {
        *("actions", "badge", "breadcrumbs", "button", "button-primary", "card", "empty"),
        *("muted", "page-head", "pages"),
    }
    styles = "".join(file.read_text() for file in ROOT.glob("static/rollout/*.css"))
    of_console = set(re.findall(r"(?:^|[},{;/])\s*\.([a-z][a-z0-9-]*)", styles))
    used = {
        name
        for file in ROOT.glob("templates/properties/*.html")
        for names in re.findall(r'class="([^"{]*)"', file.read_text())
        for name in names.split()
    }
    assert {"badge", "listings"} <= used
    assert used & of_console <= basic
