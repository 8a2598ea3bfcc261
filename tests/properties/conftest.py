from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.properties import shapes


@pytest.fixture(autouse=True)
def own_media(media: Path) -> None:
    """Each test has files of its own."""


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
