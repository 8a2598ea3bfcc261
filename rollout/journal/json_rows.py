"""Whole rows of other tables within a query: several tables from one round trip."""

from collections.abc import Collection
from typing import Any, TypeVar

from django.db.models import F, Model
from django.db.models.functions import JSONObject

M = TypeVar("M", bound=Model)


def whole(model: type[Model], *, besides: Collection[str] = ()) -> JSONObject:
    """A row with all its columns, or all but some."""
    names = [field.attname for field in model._meta.concrete_fields]
    return JSONObject(**{name: F(name) for name in names if name not in besides})


def made(model: type[M], row: dict[str, Any]) -> M:
    """The row as the object that it is."""
    values = {
        field.attname: field.to_python(row[field.attname])
        for field in model._meta.concrete_fields
        if field.attname in row
    }
    return model(**values)
