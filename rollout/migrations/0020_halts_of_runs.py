from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("rollout", "0019_what_reviews_changed"),
    ]

    operations = [
        migrations.AddField(
            model_name="phaserun",
            name="halts",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="phaserun",
            name="pause",
            field=models.JSONField(null=True),
        ),
    ]
