"""Who may do what: every address and method, for everybody."""

from datetime import date, timedelta

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver
from django.utils import timezone

from rollout.console import urls
from rollout.models import Finding, LogEntry, Rollout
from tests.console import journal

EVERYBODY = ("anonymous", "viewer", "engineer", "lead")
READERS = frozenset({"viewer", "engineer", "lead"})
AUDITORS = frozenset({"engineer", "lead"})
LEADS = frozenset({"lead"})
NOBODY: frozenset[str] = frozenset()

WHO_MAY = {
    # address: (who may GET it, who may POST to it); 405 for those who may, where it is not made.
    "": (READERS, READERS),
    "log/": (READERS, READERS),
    "jobs/{job}/": (READERS, READERS),
    "jobs/{job}/pace/": (AUDITORS, AUDITORS),
    "jobs/{job}/retry-quarantined/": (AUDITORS, AUDITORS),
    "audits/{audit}/": (READERS, READERS),
    "audits/{audit}/compare/{other}/": (READERS, READERS),
    "audits/{audit}/export.csv": (READERS, READERS),
    "audits/{audit}/export.json": (READERS, READERS),
    "audits/{audit}/repair/": (AUDITORS, AUDITORS),
    "findings/{finding}/": (READERS, READERS),
    "findings/{finding}/waive/": (LEADS, LEADS),
    "findings/{finding}/unwaive/": (LEADS, LEADS),
    "snapshots/{snapshot}/": (READERS, READERS),
    "snapshots/{snapshot}/verify/": (AUDITORS, AUDITORS),
    "snapshots/{snapshot}/delete/": (AUDITORS, AUDITORS),
    "mapping-changes/{change}/correct/": (AUDITORS, AUDITORS),
    "{rollout}/": (READERS, READERS),
    "{rollout}/phases/0/": (READERS, READERS),
    "{rollout}/phases/0/start/": (LEADS, LEADS),
    "{rollout}/phases/0/preflight/": (READERS, READERS),
    "{rollout}/phases/0/roll-back/locks/": (READERS, READERS),
    "{rollout}/schema/": (READERS, READERS),
    "{rollout}/snapshots/": (READERS, AUDITORS),
    "{rollout}/phases/0/estimate/": (LEADS, LEADS),
    "{rollout}/phases/0/roll-back/": (LEADS, LEADS),
    "{rollout}/pause/": (AUDITORS, AUDITORS),
    "{rollout}/resume/": (AUDITORS, AUDITORS),
    "{rollout}/cancel/": (LEADS, LEADS),
    "{rollout}/retry/": (LEADS, LEADS),
    "{rollout}/audits/": (READERS, AUDITORS),
    "{rollout}/monitoring/": (READERS, READERS),
