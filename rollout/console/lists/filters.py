"""What a list shows, as its address says it."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

from django import forms
from django.db.models import Model, QuerySet

from rollout.journal.labels import role_label
from rollout.plan.plan import ROLES

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
    def asked(self) -> dict[str, Any]:
        """What was understood, by field."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}

    def offer(self, name: str, values: Iterable[str], label: Callable[[str], str] = str) -> None:
        """The values to choose from, where only the request knows them."""
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [ANY, *sorted((value, label(value)) for value in values)]


def choice(choices: Iterable[tuple[str, str]], label: str | None = None) -> forms.ChoiceField:
    """One of these, or any."""
    return forms.ChoiceField(required=False, label=label, choices=[ANY, *choices])


def phase_choice() -> forms.ChoiceField:
    """One of the five phases, or any."""
    return choice(
        (str(number), f"{number} {role_label(role)}") for number, role in enumerate(ROLES)
    )
