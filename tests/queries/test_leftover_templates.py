"""Templates of a project that show a legacy column are found by line, and others are not."""

from pathlib import Path

from rollout.plan import plans
from rollout.queries.leftovers import leftovers_of
from tests.queries.searched_files import lines_of, marked, written
from tests.support.rollouts import PLAN

# Beside the source of SOURCE.
PAGE = """
    {% extends "base.html" %}
    {{ property.type }} {# found #}
    <b>{% if listing.status %}let{% endif %}</b> {# found #}
    {% if not old_listing.status == "sold" %} {# found #}
    {{ property.type|default:"none"|upper }} {# found #}
    {{ page.object_list.first.status }} {# found #}
    {{ object.get_status_display }} {# found #}
    {{ object.agent.property_set.first.type }} {# found #}
    {% for row in rows %}{{ row.city }}, {{ row.type }}{% endfor %} {# found #}
    {% with home=legacy_property %}{{ home.status }}{% endwith %} {# found #}
    {{ rows|dictsort:"status" }} {# found #}
    {% regroup rows by type as groups %} {# found #}
    {{ form.type }} {{ form.type.errors }} {# found #}
    {{ form.instance.status }} {# found #}
    <input type="hidden" name="status" value=""> {# found #}
    {{ property.status }} {# rollout: ignore #}
    {# {{ property.status }} #}
    {% comment %}
    {{ property.status }}
    {% endcomment %}
    {{ order.status }} {% for order in orders %}{{ order.status }}{% endfor %}
    {% for o in orders %}{{ o.status }}{% endfor %}
    {{ agent.status }} {{ object.agent.status }} {{ request.status }} {{ user.type }}
    {{ type }} {{ status }} {{ property.status_label }} {{ property.city|default:"type" }}
    {% url "list" type=kind %} {{ "property.type" }} {% trans "property.type" %}
    <input type="text" name="city" class="type"> property.type
    {{ rows|dictsort:"city" }} {{ property.property_type }}
"""
SOURCE = """
    from django.forms import ModelForm
    from properties.transition.models import LegacyProperty

    class HomeForm(ModelForm):
        class Meta:
            model = LegacyProperty
            exclude = ["id"]

    class Order:
        status = ""

    class Agent:
        status = type = ""
"""


def test_templates_that_show_a_legacy_column_are_found_and_no_others(tmp_path: Path) -> None:
    written(tmp_path, "forms.py", SOURCE)
    path = written(tmp_path, "templates/properties/detail.html", PAGE)
    left = leftovers_of(plans.get(PLAN), "default", [tmp_path])
    assert [line.line for line in left.files[path]] == marked(path)
    assert {line.kind for line in left.lines} == {"template"}
    assert (left.read, left.place) == (2, path)


def test_a_variable_that_is_called_as_another_class_of_the_project_is_no_row(
    tmp_path: Path,
) -> None:
    page = "{{ listing.type }} {{ form.status }} <input name='status'>"
    path = written(tmp_path, "templates/properties/detail.html", page)
    assert lines_of(tmp_path) == [1]
    written(tmp_path, "listings.py", "class Listing:\n    type = status = ''")
    assert lines_of(tmp_path) == [], "and no form is made of the table's model"
    path.write_text("{{ listing.type }} {{ property.status }}")
    assert lines_of(tmp_path) == [1]


def test_templates_that_are_not_about_the_table_have_only_rows_that_are_called_so(
    tmp_path: Path,
) -> None:
    for name in ("templates/orders/list.html", "jinja2/mail.txt"):
        written(tmp_path, name, "{{ object.status }} {{ row.type }} {{ x.get_status_display }}")
    assert lines_of(tmp_path) == []
    written(tmp_path, "jinja2/mail.txt", "{{ object.status }} of {{ property.title }}")
    written(tmp_path, "templates/orders/list.html", "{{ order.property.type }}")
    assert lines_of(tmp_path) == [1, 1]


def test_only_files_where_templates_are_and_none_of_rollouts_own_are_read(tmp_path: Path) -> None:
    for name in ("notes.html", "templates/rollout/x.html", "templates/properties/x.css"):
        written(tmp_path, name, "{{ property.type }}")
    assert leftovers_of(plans.get(PLAN), "default", [tmp_path]).read == 0
