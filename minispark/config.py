"""Reads the configuration strictly: what is in it stands in `model/settings.py`.

The file is overridden by the environment, both by `--set`. Pure but for `load`, which reads one
file. Must not know processes.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from minispark.errors import ConfigError
from minispark.model.places import SERVERS
from minispark.model.settings import Config, WorkerSpec, WorkersSection, port_of

WORKERS_MAX = 1000


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """`origins` says for each dotted key that is not a default where its value came from."""

    config: Config
    origins: dict[str, str] = field(default_factory=dict)


_MASTER = re.compile(r"local(\[(\*|[0-9]+)(,[0-9]+)?\])?|spark://\S+|yarn|k8s://\S+")
"""Spark's own forms."""
CONF_KEY = "engine.conf"
"""What stands below it are Spark's own keys."""
_CHOICES = {
    "scheduler.plan": ("fused", "naive"),
    "engine.name": ("local", "spark"),
    "restart.policy": ("on-failure", "always", "never"),
    "logging.level": ("debug", "info", "warning", "warn", "error"),
    "logging.format": ("text", "json"),
    "security.http_auth": ("auto", "required", "never"),
}
_RANGES: dict[str, tuple[float, float]] = {
    "master.http_port": (0, 65535),
    "master.socket_port": (0, 65535),
    "workers.count": (0, WORKERS_MAX),
    "workers.base_port": (0, 65535),
    "workers.threads": (1, 256),
    "workers.cache_max_mb": (0, 1 << 20),
    "workers.fail_probability": (0, 100),
    "scheduler.heartbeat_interval_s": (0.01, 3600),
    "scheduler.heartbeat_timeout_s": (0.05, 36000),
    "scheduler.task_timeout_s": (0.01, 1e7),
    "scheduler.task_retries_max": (0, 1000),
    "scheduler.max_load_diff": (0, 1000),
    "scheduler.worker_losses_max": (0, 10000),
    "memory.task_max_mb": (1, 1 << 20),
    "restart.backoff_min_s": (0, 3600),
    "restart.backoff_max_s": (0, 36000),
    "restart.attempts_max": (0, 10000),
    "restart.window_s": (0, 1e6),
    "persistence.save_interval_s": (0, 36000),
    "retention.jobs_max": (1, 1_000_000),
    "retention.results_max_gb": (0, 1e6),
    "metrics.latency_window": (1, 1_000_000),
    "metrics.log_interval_s": (0.1, 1e6),
    "logging.max_mb": (1, 1 << 20),
    "logging.backups": (0, 1000),
}
ENVIRONMENT = {
    "MASTER_HOST": "master.host",
    "MASTER_HTTP_PORT": "master.http_port",
    "MASTER_SOCKET_PORT": "master.socket_port",
    "MINISPARK_STATE_DIR": "state_dir",
    "MINISPARK_INPUT_ROOTS": "input_roots",
    "MINISPARK_TOKEN": "security.token",
    "MINISPARK_TLS_CERT": "security.tls.cert",
    "MINISPARK_TLS_KEY": "security.tls.key",
    "MINISPARK_TLS_CA": "security.tls.ca",
    "WORKER_PORT": "workers.base_port",
    "WORKER_THREADS": "workers.threads",
    "CACHE_MAX_MB": "workers.cache_max_mb",
    "FAIL_PROBABILITY": "workers.fail_probability",
    "LOG_LEVEL": "logging.level",
    "LOG_FORMAT": "logging.format",
    "HEARTBEAT_INTERVAL_SECS": "scheduler.heartbeat_interval_s",
    "MAX_TASK_TIME_SECS": "scheduler.task_timeout_s",
    "MAX_TASK_ATTEMPTS": "scheduler.task_retries_max",
    "SAVE_INTERVAL_SECS": "persistence.save_interval_s",
    "LATENCY_WINDOW_SIZE": "metrics.latency_window",
}
"""Environment variables of API.md and the keys that they set."""


def load(
    path: str | None, environ: Mapping[str, str], overrides: Sequence[str] = ()
) -> LoadedConfig:
    """The effective configuration. Raises ConfigError that names file, line, key and what is
    near.
    """
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if path is not None:
        tree, lines = _read_file(path)
        _note_origins(tree, "", lines, path, origins)
        config = _section(Config(), tree, "", lambda key: _where(path, lines, key))
    else:
        config = Config()
    environ = dict(environ)
    token_file = environ.get("MINISPARK_TOKEN_FILE")
    if token_file and "MINISPARK_TOKEN" not in environ:
        try:
            environ["MINISPARK_TOKEN"] = Path(token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"MINISPARK_TOKEN_FILE: {error}") from error
    for name, key in ENVIRONMENT.items():
        if name in environ:
            config = _set(config, key, environ[name], f"environment variable {name}")
            origins[key] = f"environment {name}"
    for override in overrides:
        key, is_pair, text = override.partition("=")
        if not is_pair:
            raise ConfigError(f"--set takes KEY=VALUE, not {override!r}")
        config = _set(config, key.strip(), text, f"--set {override}")
        origins[key.strip()] = "--set"
    if config.scheduler.heartbeat_timeout_s <= config.scheduler.heartbeat_interval_s:
        raise ConfigError(
            "scheduler.heartbeat_timeout_s must be longer than scheduler.heartbeat_interval_s"
        )
    config.security.tls.check()
    return LoadedConfig(config, origins)


# --- reading a file -----------------------------------------------------------------------


def _read_file(path: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The file's tree, and the line (from 1) of each dotted key."""
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    lines: dict[str, int] = {}
    if node is not None:
        _collect_lines(node, "", lines, path)
    if tree is not None and not isinstance(tree, dict):
        raise ConfigError(f"{path}: a configuration is a mapping of keys")
    return tree or {}, lines


def _collect_lines(node: Any, at: str, lines: dict[str, int], path: str) -> None:
    if not isinstance(node.value, list):
        return
    for i, item in enumerate(node.value):
        if isinstance(item, tuple):
            key = f"{at}{item[0].value}"
            if key in lines:
                raise ConfigError(f"{path}, line {item[0].start_mark.line + 1}: {key} stands twice")
            lines[key] = item[0].start_mark.line + 1
            _collect_lines(item[1], f"{key}.", lines, path)
        else:
            lines[f"{at.rstrip('.')}[{i}]"] = item.start_mark.line + 1
            _collect_lines(item, f"{at.rstrip('.')}[{i}].", lines, path)


def _where(path: str, lines: dict[str, int], key: str) -> str:
    return f"{path}, line {lines[key]}" if key in lines else path


def _note_origins(
    tree: dict[str, Any], at: str, lines: dict[str, int], path: str, origins: dict[str, str]
) -> None:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            _note_origins(value, f"{at}{name}.", lines, path, origins)
        else:
            origins[f"{at}{name}"] = _where(path, lines, f"{at}{name}")


# --- checking values ------------------------------------------------------------------------


def _section(default: Any, data: Any, at: str, where: Any) -> Any:
    """`default` with the values of `data`, every one checked."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where(at.rstrip('.'))}: {at.rstrip('.')} must be a mapping of keys")
    hints = get_type_hints(type(default))
    known = [f.name for f in fields(default) if f.name != "worker_list"]
    values: dict[str, Any] = {}
    for name, value in data.items():
        key = f"{at}{name}"
        if name not in known:
            raise ConfigError(f"{where(key)}: unknown key {key}{_near(str(name), known)}")
        if key == "workers" and isinstance(value, list):
            values["worker_list"] = _worker_list(value, where)
        elif is_dataclass(hints[name]):
            values[name] = _section(getattr(default, name), value, f"{key}.", where)
        else:
            values[name] = _value(key, hints[name], value, where(key))
    return replace(default, **values)


def _worker_list(items: list[Any], where: Any) -> tuple[WorkerSpec, ...]:
    defaults = WorkersSection()
    specs: list[WorkerSpec] = []
    for i, item in enumerate(items):
        key = f"workers[{i}]"
        is_alone = isinstance(item, dict) and item.get("host")  # nobody else's port is there
        port = defaults.base_port + (0 if is_alone else 10 * i)
        default = WorkerSpec(f"worker-{i + 1}", port, defaults.threads, defaults.cache_max_mb, 0.0)
        spec: WorkerSpec = _section(default, item, f"{key}.", where)
        if spec.name in SERVERS:
            raise ConfigError(f"{where(key)}: {spec.name} is no name for a worker; choose another")
        if any(spec.name == other.name for other in specs):
            raise ConfigError(f"{where(key)}: two workers are named {spec.name}")
        specs.append(spec)
    return tuple(specs)


def _set(config: Config, key: str, text: str, where: str) -> Config:
    """The configuration with one dotted key set from text."""
    if key.startswith(f"{CONF_KEY}."):
        conf = {**dict(config.engine.conf), key.removeprefix(f"{CONF_KEY}."): text}
        return replace(config, engine=replace(config.engine, conf=_conf(conf, where)))
    section, _, name = key.rpartition(".")
    targets: list[Any] = [config]
    for part in section.split(".") if section else ():
        targets.append(getattr(targets[-1], part, None))
    target = targets[-1]
    known = {f.name: h for f, h in _leaves(target)} if is_dataclass(target) else {}
    if name not in known:
        raise ConfigError(f"{where}: unknown key {key}{_near(key, _all_keys())}")
    value = _value(key, known[name], _from_text(text, known[name]), where)
    changed = value
    for part, holder in zip(reversed(key.split(".")), reversed(targets), strict=True):
        changed = replace(holder, **{part: changed})
    config = changed
    if section != "workers" or config.worker_list is None:
        return config
    if name == "count":
        return replace(config, worker_list=None)
    if name == "base_port":
        return replace(config, worker_list=_ports_from(value, config.worker_list))
    if name in {f.name for f in fields(WorkerSpec)}:
        specs = tuple(replace(spec, **{name: value}) for spec in config.worker_list)
        return replace(config, worker_list=specs)
    return config


def _ports_from(base: int, specs: tuple[WorkerSpec, ...]) -> tuple[WorkerSpec, ...]:
    """The same workers with ports counted from there; those of other hosts keep theirs."""
    own = (spec for spec in specs if spec.host is None)
    ports = {spec.name: port_of(base, index) for index, spec in enumerate(own)}
    return tuple(replace(spec, port=ports.get(spec.name, spec.port)) for spec in specs)


def _leaves(section: Any) -> list[tuple[Any, Any]]:
    hints = get_type_hints(type(section))
    return [
        (f, hints[f.name])
        for f in fields(section)
        if not is_dataclass(hints[f.name]) and f.name != "worker_list"
    ]


def _all_keys() -> list[str]:
    return _keys_of(Config(), "")


def _keys_of(section: Any, at: str) -> list[str]:
    keys = [f"{at}{f.name}" for f, _ in _leaves(section)]
    for f in fields(section):
        if is_dataclass(value := getattr(section, f.name)):
            keys += _keys_of(value, f"{at}{f.name}.")
    return keys


def _near(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, 1, 0.5)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def _from_text(text: str, hint: Any) -> Any:
    if hint is str:
        return text
    if get_origin(hint) is tuple:
        return [part for part in text.replace(",", ":").split(":") if part]
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}.get(
        text.lower(), text
    )


def _conf(value: Any, where: str) -> tuple[tuple[str, str], ...]:
    """Spark's settings. Their names have dots of their own: a mapping in one is a mistake."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {CONF_KEY} must be a mapping of Spark's settings")
    found: dict[str, str] = {}
    for name, setting in value.items():
        if not isinstance(name, str) or isinstance(setting, (dict, list)) or setting is None:
            raise ConfigError(f"{where}: {CONF_KEY}.{name} must be one text, number or truth value")
        if not name.startswith("spark."):
            raise ConfigError(
                f"{where}: {CONF_KEY}.{name} is no setting of Spark: they begin with spark., "
                f"as spark.{name}"
            )
        found[name] = str(setting).lower() if isinstance(setting, bool) else str(setting)
    return tuple(sorted(found.items()))


def _value(key: str, hint: Any, value: Any, where: str) -> Any:
    if key == CONF_KEY:
        return _conf(value, where)
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise ConfigError(f"{where}: {key} must be a list of directories")
        return tuple(value)
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    is_right = type(value) in kinds or (float in kinds and type(value) is int)
    if not is_right or (isinstance(value, float) and not math.isfinite(value)):
        words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
        wanted = " or ".join(words[kind] for kind in kinds)
        raise ConfigError(f"{where}: {key} must be {wanted}, not {value!r}")
    name = key.split("].")[-1] if "]." in key else None
    rule = f"workers.{name}" if name and name != "port" else key
    rule = "workers.base_port" if name == "port" else rule
    if rule in _CHOICES:
        value = value.lower()
        if value not in _CHOICES[rule]:
            raise ConfigError(f"{where}: {key} is one of {', '.join(_CHOICES[rule])}, not {value}")
    if key == "engine.master" and not _MASTER.fullmatch(value):
        raise ConfigError(
            f"{where}: {key} is local, local[N], spark://HOST:PORT, yarn or k8s://URL, "
            f"not {value!r}"
        )
    if rule in _RANGES and not _RANGES[rule][0] <= value <= _RANGES[rule][1]:
        low, high = _RANGES[rule]
        raise ConfigError(f"{where}: {key} must lie between {low:g} and {high:g}, not {value}")
    if key == "scheduler.prefetch" and value != "auto" and not isinstance(value, int):
        raise ConfigError(f"{where}: {key} is auto or a whole number, not {value!r}")
    return float(value) if hint is float else value
