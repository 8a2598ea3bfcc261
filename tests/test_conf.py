"""The project's settings for the app."""

from typing import Any

import pytest

from rollout.conf import SETTINGS, setting


def test_a_setting_is_the_projects_or_the_default_of_who_reads_it(settings: Any) -> None:
    settings.ROLLOUT = {"PG_BIN": "/opt/bin"}
    assert setting("PG_BIN", "") == "/opt/bin"
    assert setting("SHADOW", default=True) is True


def test_a_setting_that_no_document_describes_is_not_read() -> None:
    with pytest.raises(AssertionError, match="PG_BINS is not in SETTINGS"):
        setting("PG_BINS", "")
    assert all(described.help.endswith(".") for described in SETTINGS.values())
