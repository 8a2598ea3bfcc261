import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Offer",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("home", models.TextField()),
                ("buyer", models.TextField()),
                (
                    "made_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("price", models.BigIntegerField(null=True)),
            ],
            options={
                "db_table": "offers",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="LegacyOffer",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("home", models.TextField()),
                ("buyer", models.TextField()),
                (
                    "made_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("price", models.TextField(blank=True, null=True)),
            ],
            options={
                "db_table": "offers",
            },
        ),
    ]
