"""L3, a worker: its agent, its executors, its data server, and what a task does."""
