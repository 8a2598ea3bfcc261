"""Audits tell how much of the mapping that they compared by had been reviewed by people."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollout", "0022_servers_of_environments")]

    operations = [
        migrations.AddField("auditreport", "mapping_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "auditreport", "mapping_reviewed", models.PositiveIntegerField(null=True)
        ),
        migrations.AddField(
            "auditreport", "mapping_values", models.PositiveIntegerField(null=True)
        ),
    ]
