"""Signs of life of processes that are one here."""

import pytest


@pytest.fixture
def each_kind_of_process_has_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here one process is worker and watchdog."""
    from rollout.journal import heartbeats

    beat = heartbeats.beat

    def named_beat(kind: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(heartbeats, "process_name", lambda: f"host:{kind}")
            beat(kind)

    monkeypatch.setattr(heartbeats, "beat", named_beat)
