from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollout", "0021_rows_rewritten")]

    operations = [
        migrations.AddField(
            "environment", "server", models.CharField(blank=True, default="", max_length=300)
        ),
    ]
