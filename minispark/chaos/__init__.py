"""L4: breaking a running cluster on purpose, from outside."""
