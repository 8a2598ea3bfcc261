"""The migrations of both apps say what their models say."""

import pytest
from django.core.management import call_command


@pytest.mark.parametrize("app", ["rollout", "properties"])
def test_the_migrations_of_an_app_leave_no_change_of_its_models_out(app: str, db: None) -> None:
    call_command("makemigrations", app, check=True, dry_run=True, verbosity=0)
