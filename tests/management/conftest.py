from types import SimpleNamespace

import pytest


@pytest.fixture
def a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb that waits gives way to a worker in this process."""
    # Loaded before Django is set up.
    from rollout.management import verbs
    from tests.support.rollouts import work

    monkeypatch.setattr(verbs, "time", SimpleNamespace(sleep=lambda _seconds: work()))
