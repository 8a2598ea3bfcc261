from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client, override_settings

from tests.properties import shapes


@pytest.fixture(autouse=True)
def media(tmp_path: Path) -> Iterator[Path]:
    """Where the default storage keeps the files of one test."""
    directory = tmp_path / "media"
    with override_settings(MEDIA_ROOT=directory):
        yield directory


@pytest.fixture(params=["legacy", "both", "new"])
def shape(request: pytest.FixtureRequest, db: None) -> shapes.ShapeName:
    """The test runs once in each shape of the tables."""
    name: shapes.ShapeName = request.param
    shapes.reach(name)
    return name


@pytest.fixture
def signed_in(client: Client, db: None) -> Client:
    client.force_login(get_user_model().objects.create_user("ada"))
    return client
