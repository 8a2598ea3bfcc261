from django.apps import AppConfig


class PropertiesConfig(AppConfig):
    name = "properties"
    label = "properties"
    verbose_name = "Properties"
    default_auto_field = "django.db.models.AutoField"
