"""Columns called by the standard words of the field."""

from django.db import migrations

_RENAMED = (
    ("rehearsal", "stage", "sandbox"),
    ("rehearsal", "alone", "baseline_traffic"),
    ("rehearsal", "look_ms", "lock_poll_ms"),
    ("rehearsal", "keep", "keep_database"),
    ("rehearsal", "doing", "activity"),
    ("restore", "doing", "activity"),
    ("snapshot", "doing", "activity"),
    ("rulestate", "usual", "baseline"),
)


class Migration(migrations.Migration):
    dependencies = [("rollout", "0003_snapshot_then_rehearse")]
    operations = [migrations.RenameField(*names) for names in _RENAMED]
