"""L5, the command line: one module a command, one place that renders."""

COMMON = "options of every command"
"""The title of their group, which main.py makes and pages.py tells apart."""
