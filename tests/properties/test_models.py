from __future__ import annotations

import pytest
from django.apps import apps
from django.db import models

from properties.models import LegacyProperty, LegacyPropertyImage


def test_only_the_legacy_shape_is_made_by_migrations() -> None:
    managed = {
        model for model in apps.get_app_config("properties").get_models() if model._meta.managed
    }
    assert managed == {LegacyProperty, LegacyPropertyImage}


@pytest.mark.parametrize("name", ["ExpandedProperty", "NormalizedProperty"])
def test_new_keys_bring_neither_constraint_nor_index(name: str) -> None:
    keys = [
        field
        for field in apps.get_model("properties", name)._meta.get_fields()
        if isinstance(field, models.ForeignKey)
    ]
    assert len(keys) == 2
    for key in keys:
        _, _, _, options = key.deconstruct()
        assert {"db_constraint": False, "db_index": False, "null": True}.items() <= options.items()
