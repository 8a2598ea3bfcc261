"""All that the application needs only while its rollout is under way: delete it after phase 4.

``apps``, ``catalog``, ``flows`` and ``loading.rows`` import from here. What they need afterwards
is ``Shape(using)`` inside ``transaction.atomic(using=using)``.
"""
