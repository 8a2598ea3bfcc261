"""What people type into the property pages, checked before it reaches the catalogue."""

from __future__ import annotations

import re
from typing import Any, cast

from django import forms

from properties.images import MAX_BYTES
from properties.listings import Filters, Listing, PropertyFields
from properties.text import UNSPECIFIED


class PropertyForm(forms.Form):
    """Create or edit. On edit, only what the person changed since the page was made counts.

    Each field carries the value it was shown with: someone else's change to another field, made
    while the page was open, is not undone.
    """

    title = forms.CharField(max_length=200)
    type = forms.CharField(
        max_length=100,
        required=False,
        empty_value=None,
        widget=forms.TextInput(attrs={"list": "known-types", "autocomplete": "off"}),
    )
    status = forms.CharField(
        max_length=100,
        required=False,
        empty_value=None,
        widget=forms.TextInput(attrs={"list": "known-statuses", "autocomplete": "off"}),
    )
    price = forms.DecimalField(
        label="Price ($)", min_value=0, max_digits=12, decimal_places=2, required=False
    )
    address = forms.CharField(max_length=200, required=False)
    city = forms.CharField(max_length=100, required=False)
    postal_code = forms.CharField(max_length=20, required=False)
    bedrooms = forms.IntegerField(min_value=0, max_value=999, required=False)
    bathrooms = forms.DecimalField(min_value=0, max_digits=4, decimal_places=1, required=False)
    area = forms.DecimalField(
        label="Area (sq ft)", min_value=0, max_digits=10, decimal_places=1, required=False
    )
    latitude = forms.FloatField(min_value=-90, max_value=90, required=False)
    longitude = forms.FloatField(min_value=-180, max_value=180, required=False)
    description = forms.CharField(
        max_length=20_000, required=False, widget=forms.Textarea(attrs={"rows": 6})
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.show_hidden_initial = bool(self.initial)

    def clean_description(self) -> str:
        # Browsers send CR LF whatever was there before.
        return str(self.cleaned_data["description"]).replace("\r\n", "\n")

    def values(self) -> PropertyFields:
        return cast(PropertyFields, self.cleaned_data)

    def changes(self) -> PropertyFields:
        return cast(PropertyFields, {name: self.cleaned_data[name] for name in self.changed_data})


def editable_values(listing: Listing) -> dict[str, object]:
    """A listing as the form shows it: nothing where type or status is not specified."""
    values: dict[str, object] = {name: getattr(listing, name) for name in PropertyForm.base_fields}
    for name in ("type", "status"):
        if values[name] == UNSPECIFIED:
            values[name] = None
    return values


class SearchForm(forms.Form):
    text = forms.CharField(
        label="Search",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Title, address, words…"}),
    )
    type = forms.CharField(
        max_length=100, required=False, widget=forms.TextInput(attrs={"list": "known-types"})
    )
    status = forms.CharField(
        max_length=100, required=False, widget=forms.TextInput(attrs={"list": "known-statuses"})
    )
    price_from = forms.DecimalField(
        label="Minimum price", min_value=0, max_digits=12, decimal_places=2, required=False
    )
    price_to = forms.DecimalField(
        label="Maximum price", min_value=0, max_digits=12, decimal_places=2, required=False
    )

    def clean_text(self) -> str:
        text = str(self.cleaned_data["text"])
        # For less the index of trigrams is of no use: the whole table would be read.
        if text and not re.search(r"[^\W_]{3}", text):
            raise forms.ValidationError("Search for a word of at least 3 letters or digits.")
        return text

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        low, high = cleaned.get("price_from"), cleaned.get("price_to")
        if low is not None and high is not None and low > high:
            self.add_error("price_to", "Must not be less than the minimum price.")
        return cleaned

    def filters(self) -> Filters:
        return Filters(**self.cleaned_data)


class ImageForm(forms.Form):
    image = forms.FileField(
        label="Image",
        help_text=f"PNG, JPEG, WebP or GIF, up to {MAX_BYTES // 1024 // 1024} MB.",
        widget=forms.ClearableFileInput(
            attrs={"accept": "image/png,image/jpeg,image/webp,image/gif"}
        ),
    )
