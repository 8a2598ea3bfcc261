from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# Loaded before Django is set up: what needs models is imported where it is used.
if TYPE_CHECKING:
    from rollout.models import AuditReport, Rollout


@pytest.fixture
def report(rollout: Rollout) -> AuditReport:
    """A report of an audit that found three rows."""
    from tests.console.audit_reports import a_report

    return a_report(rollout)
