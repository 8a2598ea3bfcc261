import sys

# What pytest makes of asserts is kept for the next run, even where PYTHONDONTWRITEBYTECODE is set:
# to make it is most of what a run needs to begin. `pytest_collection` turns this back.
WRITES_NO_BYTECODE = sys.dont_write_bytecode
sys.dont_write_bytecode = False
