"""L2, processes: what runs, restarting what dies, stopping in order. Knows nothing about tasks."""
