from django.urls import path

from properties import views

app_name = "properties"

urlpatterns = [
    path("", views.listings, name="list"),
    path("new/", views.create, name="create"),
    path("<uuid:property_id>/", views.detail, name="detail"),
    path("<uuid:property_id>/edit/", views.edit, name="edit"),
    path("<uuid:property_id>/images/", views.upload, name="upload"),
]
