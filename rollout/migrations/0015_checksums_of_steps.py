from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("rollout", "0014_shadow_reads_and_samples"),
    ]

    operations = [
        migrations.AddField(
            model_name="steprun",
            name="checksum",
            field=models.CharField(blank=True, default="", max_length=64),
        ),
    ]
