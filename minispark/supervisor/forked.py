"""A forked child, and its parent's hold on it: nobody is signalled who only has its old pid.

Must not know what runs in the child.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from minispark.supervisor.process_identity import ProcessIdentity

POLL_S = 0.01
_EVERY_SIGNAL = signal.valid_signals()


class ForkedProcess:
    """A child from its fork until it is reaped.

    Until then the kernel gives its pid to nobody else. It must not be waited for in any other way:
    `multiprocessing`, for one, reaps whatever child of its own ended whenever it starts another.
    """

    def __init__(self, main: Callable[[], int]) -> None:
        """Fork. `main` runs in the child, and returns its exit status. Raises OSError.

        The child begins with every signal blocked: what comes before it has handlers of its own
        waits for `hear_signals`, and is not lost in those of its parent.
        """
        self._exit_code: int | None = None
        self._identity: ProcessIdentity | None = None
        with signals_blocked():
            self.pid = os.fork()
            if self.pid == 0:
                _live(main)

    @property
    def identity(self) -> ProcessIdentity | None:
        """None once it ended. Raises OSError when it cannot be read now."""
        if self._identity is None:
            self._identity = ProcessIdentity.of(self.pid)
        return self._identity

    def signal(self, number: int) -> None:
        """Send it, unless it was reaped."""
        if self._exit_code is None:
            os.kill(self.pid, number)

    def reap(self) -> int | None:
        """Its exit code once it ended (negative: the signal that ended it), else None."""
        if self._exit_code is None:
            with signals_blocked():  # a handler in between would signal a pid that is free again
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                if ended:
                    self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code

    def wait(self, timeout_s: float) -> int | None:
        """Reap it once it ended; None when it did not within the time."""
        deadline = time.monotonic() + timeout_s
        while (code := self.reap()) is None and time.monotonic() < deadline:
            time.sleep(POLL_S)  # there is no portable wait with a deadline
        return code


def _live(main: Callable[[], int]) -> NoReturn:
    code = 1
    try:
        code = main()
    except Exception:
        logging.getLogger("minispark.process").error("the process failed", exc_info=True)
    finally:
        logging.shutdown()
        os._exit(code)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Signals wait until the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _EVERY_SIGNAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def forget_handlers() -> None:
    """No signal handler that a child inherited stays in it."""
    signal.set_wakeup_fd(-1)
    for number in _EVERY_SIGNAL:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)


def hear_signals() -> None:
    """From here on signals arrive, those first that came since the fork."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def how_it_ended(exit_code: int) -> str:
    """`status 1`, `signal SIGKILL`, or `signal 35` of one without a name (a real-time signal)."""
    if exit_code >= 0:
        return f"status {exit_code}"
    try:
        return f"signal {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"signal {-exit_code}"
