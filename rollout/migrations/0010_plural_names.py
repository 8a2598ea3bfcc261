"""The plurals of names that do not take an s, for the admin's pages."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("rollout", "0009_mapping_undo")]

    operations = [
        migrations.AlterModelOptions(
            name="delivery",
            options={"ordering": ["-id"], "verbose_name_plural": "deliveries"},
        ),
        migrations.AlterModelOptions(
            name="logentry",
            options={"ordering": ["-id"], "verbose_name_plural": "log entries"},
        ),
        migrations.AlterModelOptions(
            name="mismatch",
            options={"ordering": ["id"], "verbose_name_plural": "mismatches"},
        ),
        migrations.AlterModelOptions(name="outbox", options={"verbose_name_plural": "outboxes"}),
    ]
