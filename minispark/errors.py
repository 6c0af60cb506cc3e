"""Every error that crosses a package boundary. Knows nothing of HTTP, sockets or exit codes.

A user's mistake carries one line that says what to change; a broken invariant is an
`InvariantViolation` and crashes loudly.
"""

from __future__ import annotations


class MiniSparkError(Exception):
    """Base of all errors of this project; `str(error)` is one line for people."""


class InvalidRequest(MiniSparkError):
    """A job description is wrong. `field` is a JSON path such as ``dag.nodes[2].fn``."""

    def __init__(
        self, message: str, field: str | None = None, code: str = "invalid_request"
    ) -> None:
        super().__init__(message)
        self.field = field
        self.code = code


class InputRefused(InvalidRequest):
    """A path may not be read: outside `input_roots`, missing, a device, a FIFO, an empty folder."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message, field, code="input_refused")


class TokenNeeded(MiniSparkError):
    """Only somebody who knows the cluster's token may ask for this."""


class ConfigError(MiniSparkError):
    """The YAML configuration, an environment variable or `--set` is wrong."""


class NotFound(MiniSparkError):
    """No job, task or worker has this id."""


class ClusterError(MiniSparkError):
    """The cluster as a whole cannot do what was asked (a busy port, a foreign state directory)."""


class NoCluster(ClusterError):
    """No cluster runs here, or it does not answer."""


class ClusterRuns(ClusterError):
    """A cluster already runs on this state directory."""


class DeadlineExceeded(MiniSparkError):
    """Something did not happen before its deadline."""


class ProtocolError(MiniSparkError):
    """The peer broke the wire protocol. The session is closed; `code` names the reason."""

    def __init__(self, message: str, code: str = "protocol_error") -> None:
        super().__init__(message)
        self.code = code


class AuthenticationFailed(ProtocolError):
    """The peer does not know the cluster's token, or replayed somebody's answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="authentication_failed")


class TaskError(MiniSparkError):
    """What a task does to data failed, for a reason that lies in the data or in a function.

    `str(error)` names the function, the record or the file and byte offset.
    """


class FetchError(MiniSparkError):
    """Blocks of a parent stage could not be read. `attempt_ids` name the outputs that are lost."""

    def __init__(self, message: str, attempt_ids: tuple[str, ...]) -> None:
        super().__init__(message)
        self.attempt_ids = attempt_ids


class CacheMissed(MiniSparkError):
    """What a task was expected to find in its worker's cache is not there, and what it would make
    that from was not made.
    """


class CorruptBlock(MiniSparkError):
    """The checksum or the structure of what a task wrote is wrong."""


class InvariantViolation(MiniSparkError):
    """A bug of ours: the state contradicts itself."""


class IllegalTransition(InvariantViolation):
    """A state machine was asked for a transition that its table does not hold."""
