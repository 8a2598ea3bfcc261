"""What a list shows, as its address says it."""

from collections.abc import Iterable
from typing import ClassVar, TypeVar

from django import forms
from django.db.models import Model, QuerySet

Listed = TypeVar("Listed", bound=Model)

ANY = ("", "Any")


class ListFilter(forms.Form):
    """Every field may stay empty. What cannot be understood is left out, and said at its field.

    ``lookups`` says for a field what the ORM is asked.
    """

    lookups: ClassVar[dict[str, str]]

    def of(self, rows: QuerySet[Listed]) -> QuerySet[Listed]:
        """The rows that match."""
        return rows.filter(
            **{
                self.lookups[name]: value
                for name, value in self.asked.items()
                if name in self.lookups
            }
        )

    @property
    def asked(self) -> dict[str, str]:
        """What was understood, by field."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}

    def offer(self, name: str, values: Iterable[str]) -> None:
        """The values to choose from, where only the request knows them."""
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [ANY, *((value, value) for value in sorted(values))]


def choice(choices: Iterable[tuple[str, str]], label: str | None = None) -> forms.ChoiceField:
    """One of these, or any."""
    return forms.ChoiceField(required=False, label=label, choices=[ANY, *choices])
