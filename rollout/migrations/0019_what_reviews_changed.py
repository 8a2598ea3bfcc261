"""Reviews tell how many values they decided and how many rows mean something else since."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollout", "0018_log_by_time")]

    operations = [
        migrations.AddField("mappingchange", "decided", models.PositiveIntegerField(default=0)),
        migrations.AddField("mappingchange", "mapped", models.BooleanField(default=True)),
        migrations.AddField("mappingchange", "rows_changed", models.BigIntegerField(null=True)),
    ]
