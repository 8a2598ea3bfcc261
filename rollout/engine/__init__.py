"""The engine: carries a plan's actions out on one target. It knows no journal."""
