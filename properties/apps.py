from importlib import import_module

from django.apps import AppConfig


class PropertiesConfig(AppConfig):
    name = "properties"
    label = "properties"
    verbose_name = "Properties"
    default_auto_field = "django.db.models.AutoField"

    def import_models(self) -> None:
        # Migrations know the tables by these models.
        import_module("properties.transition.models")
        super().import_models()
