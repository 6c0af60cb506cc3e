"""Settings of the whole suite."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# no property depends on how fast the machine is, and no run leaves files behind
settings.register_profile(
    "suite", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")
