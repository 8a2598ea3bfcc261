"""Settings of a site whose processes know a plan of a test's own."""

from pathlib import Path

from tests.support.servers import Database

SETTINGS = "own_plan_settings"


def env_with_plan(database: Database, directory: Path, plan: str) -> dict[str, str]:
    """The environment of its processes; ``plan`` is the dotted path of the plan."""
    module, _, name = plan.rpartition(".")
    app = directory / "own_plan"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "rollout.py").write_text(
        f"from rollout.plan import plans\nfrom {module} import {name}\n\nplans.register({name})\n"
    )
    (directory / f"{SETTINGS}.py").write_text(
        "from config.settings import *\n\nINSTALLED_APPS = [*INSTALLED_APPS, 'own_plan']\n"
    )
    return database.env(
        LOG_LEVEL="INFO", DJANGO_SETTINGS_MODULE=SETTINGS, PYTHONPATH=str(directory)
    )
