from __future__ import annotations

from django.apps import apps
from django.db import models

from properties.models import Property
from properties.transition.models import LegacyProperty, LegacyPropertyImage


def test_only_the_legacy_shape_is_made_by_migrations() -> None:
    managed = {
        model for model in apps.get_app_config("properties").get_models() if model._meta.managed
    }
    assert managed == {LegacyProperty, LegacyPropertyImage}


def test_new_keys_bring_neither_constraint_nor_index() -> None:
    keys = [field for field in Property._meta.get_fields() if isinstance(field, models.ForeignKey)]
    assert len(keys) == 2
    for key in keys:
        _, _, _, options = key.deconstruct()
        assert {"db_constraint": False, "db_index": False, "null": True}.items() <= options.items()
