"""L1, the master's brain: `core.handle(event, now) -> list[Effect]`. Pure.

No module here knows a socket, a file, a clock, a thread or a random generator; the same events give
the same effects in every process.
"""
