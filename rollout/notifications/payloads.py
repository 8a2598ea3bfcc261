"""The texts and JSON that are sent about an entry of the activity log."""

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.urls import NoReverseMatch

from rollout.conf import setting
from rollout.journal.moments import in_words
from rollout.models import LogEntry
from rollout.notifications.kinds import headline, kind_of


def link_to(entry: LogEntry) -> str:
    """The address of the entry's page; empty without ``ROLLOUT["BASE_URL"]``."""
    base = setting("BASE_URL", "")
    if not base:
        return ""
    try:
        return base.rstrip("/") + entry.get_absolute_url()
    except NoReverseMatch:
        return ""


def as_json(entry: LogEntry) -> bytes:
    """``text`` is what Slack, Mattermost and Google Chat show; ``data`` is for code."""
    link = link_to(entry)
    text = f"{headline(entry)}\n{entry.message}\nby {entry.actor} ({entry.source})"
    content: dict[str, Any] = {
        "text": _for_chats(text) + (f"\n{link}" if link else ""),
        "type": f"rollout.{kind_of(entry)}",
        "timestamp": entry.at.isoformat(),
        "data": {
            "entry": entry.pk,
            "kind": kind_of(entry),
            "event": entry.event,
            "message": entry.message,
            "actor": entry.actor,
            "source": entry.source,
            "plan": entry.plan,
            "environment": entry.environment,
            "phase": entry.phase,
            "url": link,
            "details": entry.data,
        },
    }
    return json.dumps(content, cls=DjangoJSONEncoder).encode()


def _for_chats(text: str) -> str:
    """Escape values of the application in messages: none of them may notify a whole channel."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("@", "@\u200b")


def as_mail(entry: LogEntry) -> tuple[str, str]:
    """Subject and text of an e-mail."""
    link = link_to(entry)
    lines = [
        entry.message,
        "",
        f"By:    {entry.actor} ({entry.source})",
        f"When:  {in_words(entry.at)}",
        *([f"Page:  {link}"] if link else []),
        "",
        "Manage these emails under Notifications.",
    ]
    return " ".join(f"[Rollout] {headline(entry)}".split()), "\n".join(lines)
