"""L5, the command line: one module a command, one place that renders."""
