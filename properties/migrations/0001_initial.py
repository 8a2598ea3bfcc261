import uuid

import django.db.models.deletion
import django.utils.timezone
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations, models
from django.db.models.functions import Upper


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        TrigramExtension(),
        migrations.CreateModel(
            name="Property",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("title", models.TextField()),
                ("description", models.TextField(blank=True, default="")),
                ("address", models.TextField(blank=True, default="")),
                ("city", models.TextField(blank=True, default="")),
                ("postal_code", models.TextField(blank=True, default="")),
                (
                    "price",
                    models.DecimalField(blank=True, decimal_places=2, max_digits=12, null=True),
                ),
                ("bedrooms", models.SmallIntegerField(blank=True, null=True)),
                (
                    "bathrooms",
                    models.DecimalField(blank=True, decimal_places=1, max_digits=4, null=True),
                ),
                (
                    "area",
                    models.DecimalField(blank=True, decimal_places=1, max_digits=10, null=True),
                ),
                ("latitude", models.FloatField(blank=True, null=True)),
                ("longitude", models.FloatField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("currency", models.CharField(max_length=3, null=True)),
                ("published_at", models.DateTimeField(null=True)),
                ("is_listed", models.BooleanField(null=True)),
            ],
            options={
                "verbose_name_plural": "properties",
                "db_table": "properties",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="PropertyImage",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("url", models.TextField()),
                ("position", models.IntegerField(default=0)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("storage_key", models.TextField(null=True)),
                ("checksum", models.TextField(null=True)),
                ("width", models.IntegerField(null=True)),
                ("height", models.IntegerField(null=True)),
            ],
            options={
                "db_table": "property_images",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="PropertyListingCount",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "city",
                        "type",
                        "status",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("type", models.TextField()),
                ("status", models.TextField()),
                ("city", models.TextField()),
                ("listings", models.BigIntegerField()),
            ],
            options={
                "db_table": "property_listing_counts",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="PropertyStatus",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("name", models.TextField(unique=True)),
            ],
            options={
                "verbose_name_plural": "property statuses",
                "db_table": "property_statuses",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="PropertyType",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("name", models.TextField(unique=True)),
            ],
            options={
                "db_table": "property_types",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="LegacyProperty",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("title", models.TextField()),
                ("description", models.TextField(blank=True, default="")),
                ("address", models.TextField(blank=True, default="")),
                ("city", models.TextField(blank=True, default="")),
                ("postal_code", models.TextField(blank=True, default="")),
                (
                    "price",
                    models.DecimalField(blank=True, decimal_places=2, max_digits=12, null=True),
                ),
                ("bedrooms", models.SmallIntegerField(blank=True, null=True)),
                (
                    "bathrooms",
                    models.DecimalField(blank=True, decimal_places=1, max_digits=4, null=True),
                ),
                (
                    "area",
                    models.DecimalField(blank=True, decimal_places=1, max_digits=10, null=True),
                ),
                ("latitude", models.FloatField(blank=True, null=True)),
                ("longitude", models.FloatField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("type", models.TextField(blank=True, null=True)),
                ("status", models.TextField(blank=True, null=True)),
            ],
            options={
                "verbose_name_plural": "legacy properties",
                "db_table": "properties",
                "indexes": [
                    models.Index(fields=["city"], name="properties_city_idx"),
                    models.Index(fields=["created_at"], name="properties_created_idx"),
                    models.Index(fields=["price"], name="properties_price_idx"),
                    models.Index(fields=["type", "status"], name="properties_type_status_idx"),
                    models.Index(fields=["status"], name="properties_status_idx"),
                    *(
                        GinIndex(
                            OpClass(Upper(column), name="gin_trgm_ops"),
                            name=f"properties_{column}_trgm",
                        )
                        for column in ("title", "description", "address")
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="LegacyPropertyImage",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("url", models.TextField()),
                ("position", models.IntegerField(default=0)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "property",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="properties.legacyproperty",
                    ),
                ),
            ],
            options={
                "db_table": "property_images",
            },
        ),
    ]
