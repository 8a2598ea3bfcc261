"""Repairs of every table at once, and what they found in each column."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollout", "0023_reviews_of_mappings")]

    operations = [
        migrations.AlterField("repair", "table", models.CharField(blank=True, max_length=130)),
        migrations.AddField("repair", "cells", models.JSONField(default=list)),
    ]
