"""Jobs count apart what the application wrote while they ran."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollout", "0020_halts_of_runs")]

    operations = [
        migrations.AddField("backfilljob", "rewritten", models.BigIntegerField(default=0)),
    ]
