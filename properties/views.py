"""The property pages. They speak to the catalogue and never learn which shape is in force."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from properties import catalog
from properties.forms import ImageForm, PropertyForm, SearchForm, editable_values
from properties.images import ImageRefused
from properties.listings import Cursor, Listing, Page
from rollout.telemetry import operation


@login_required
@require_GET
@operation("search")
def listings(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    page = Page(listings=())
    if form.is_valid():
        page = catalog.search(
            form.filters(), after=_cursor(request, "after"), before=_cursor(request, "before")
        )
    context = {"form": form, "page": page, "facets": catalog.facets()}
    return render(request, "properties/list.html", context)


@login_required
@require_GET
@operation("detail")
def detail(request: HttpRequest, property_id: UUID) -> HttpResponse:
    return _detail_page(request, _listing_or_404(property_id), ImageForm())


@login_required
@require_http_methods(["GET", "POST"])
@operation("create")
def create(request: HttpRequest) -> HttpResponse:
    form = PropertyForm(_posted(request))
    if request.method == "POST" and form.is_valid():
        listing = catalog.create_property(form.values())
        messages.success(request, f"“{listing.title}” was added.")
        return redirect("properties:detail", listing.id)
    context = {"form": form, "facets": catalog.facets()}
    return render(request, "properties/create.html", context)


@login_required
@require_http_methods(["GET", "POST"])
@operation("update")
def edit(request: HttpRequest, property_id: UUID) -> HttpResponse:
    listing = _listing_or_404(property_id)
    form = PropertyForm(_posted(request), initial=editable_values(listing))
    if request.method == "POST" and form.is_valid():
        listing = catalog.update_property(property_id, form.changes())
        messages.success(request, f"“{listing.title}” was saved.")
        return redirect("properties:detail", property_id)
    context = {"form": form, "listing": listing, "facets": catalog.facets()}
    return render(request, "properties/edit.html", context)


@login_required
@require_POST
@operation("upload")
def upload(request: HttpRequest, property_id: UUID) -> HttpResponse:
    listing = _listing_or_404(property_id)
    form = ImageForm(request.POST, request.FILES)
    if form.is_valid():
        try:
            catalog.attach_image(property_id, form.cleaned_data["image"])
        except ImageRefused as refusal:
            form.add_error("image", str(refusal))
        else:
            messages.success(request, "Image added.")
            return redirect("properties:detail", property_id)
    return _detail_page(request, listing, form)


def _detail_page(request: HttpRequest, listing: Listing, form: ImageForm) -> HttpResponse:
    context = {"listing": listing, "image_form": form}
    return render(request, "properties/detail.html", context)


def _posted(request: HttpRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None


def _listing_or_404(property_id: UUID) -> Listing:
    try:
        return catalog.get_property(property_id)
    except catalog.PropertyNotFound as error:
        raise Http404("Property not found.") from error


def _cursor(request: HttpRequest, name: str) -> Cursor | None:
    text = request.GET.get(name)
    if not text:
        return None
    try:
        return Cursor.parse(text)
    except ValueError as error:
        raise Http404("Page not found.") from error
