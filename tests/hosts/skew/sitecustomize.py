"""Imported by every Python of a host whose clocks are wrong: SKEW_S says by how many seconds. Time
passes as it does elsewhere.
"""

import os
import time

_skew_s = float(os.environ.get("SKEW_S", "0"))
_time, _time_ns, _monotonic = time.time, time.time_ns, time.monotonic
time.time = lambda: _time() + _skew_s
time.time_ns = lambda: _time_ns() + int(_skew_s * 1e9)
time.monotonic = lambda: _monotonic() + _skew_s
