"""Settings of the whole suite."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# no property depends on how fast the machine is, and no run leaves files behind
settings.register_profile(
    "suite", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


def pytest_configure() -> None:
    """A shell that runs the suite in the background has it ignore what a keyboard or a closed
    terminal sends, and so would every process that a test starts.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
