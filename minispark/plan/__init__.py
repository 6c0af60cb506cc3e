"""L1, planning: a JobRequest becomes a validated DAG, then stages and tasks; `explain` renders
them.
"""
