"""The configuration is read strictly, and errors name file, line, key and what is near."""

from __future__ import annotations

from pathlib import Path

import pytest

from minispark.config import ENVIRONMENT, load
from minispark.errors import ConfigError
from minispark.model.settings import Config

ROOT = Path(__file__).parents[2]


def test_defaults_are_the_documented_ones() -> None:
    config = load(None, {}).config
    assert config == Config()
    assert [(s.name, s.port, s.threads) for s in config.worker_specs()] == [
        ("worker-1", 9000, 2),
        ("worker-2", 9010, 2),
        ("worker-3", 9020, 2),
    ]


def test_full_yaml_holds_every_key_with_its_default() -> None:
    loaded = load(str(ROOT / "conf" / "full.yaml"), {})
    assert loaded.config == Config()
    from minispark.config import _all_keys

    assert {key for key in _all_keys() if key not in loaded.origins} == set()


@pytest.mark.parametrize("name", ["1worker", "3workers", "chaos", "full", "spark"])
def test_shipped_configurations_load(name: str) -> None:
    load(str(ROOT / "conf" / f"{name}.yaml"), {})


def test_environment_wins_over_the_file_and_set_over_both(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("workers: {threads: 3, count: 7}\nlogging: {level: error}\n")
    loaded = load(str(path), {"WORKER_THREADS": "4", "LOG_LEVEL": "WARNING"}, ["workers.threads=5"])
    assert loaded.config.workers.threads == 5
    assert loaded.config.workers.count == 7
    assert loaded.config.logging.level == "warning"
    assert loaded.origins["workers.threads"] == "--set"
    assert loaded.origins["logging.level"] == "environment LOG_LEVEL"
    assert loaded.origins["workers.count"].endswith("line 1")


def test_sparks_settings_keep_their_names_and_are_text(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "engine:\n  name: Spark\n  master: spark://h:7077\n"
        "  conf: {spark.executor.memory: 2g, spark.ui.enabled: true, spark.task.maxFailures: 2}\n"
    )
    engine = load(str(path), {}, ["engine.conf.spark.executor.memory=3g"]).config.engine
    assert (engine.name, engine.master) == ("spark", "spark://h:7077")
    assert dict(engine.conf) == {
        "spark.executor.memory": "3g",
        "spark.ui.enabled": "true",
        "spark.task.maxFailures": "2",
    }


@pytest.mark.parametrize("master", ["local", "local[*]", "local[2,3]", "yarn", "k8s://https://h:1"])
def test_sparks_masters_are_taken_as_spark_has_them(master: str) -> None:
    assert load(None, {}, [f"engine.master={master}"]).config.engine.master == master


def test_a_list_of_workers(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("workers:\n  - {name: big, threads: 4}\n  - {name: small, port: 9500}\n")
    specs = load(str(path), {}).config.worker_specs()
    assert [(s.name, s.port, s.threads) for s in specs] == [("big", 9000, 4), ("small", 9500, 2)]


@pytest.mark.parametrize(("base", "ports"), [(9100, [9100, 9400, 9110]), (0, [0, 9400, 0])])
def test_another_base_port_keeps_a_list_of_workers(
    tmp_path: Path, base: int, ports: list[int]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "workers:\n  - {name: big, port: 9500}\n  - {name: far, host: 10.0.0.2, port: 9400}\n"
        "  - {name: small}\n"
    )
    specs = load(str(path), {}, [f"workers.base_port={base}"]).config.worker_specs()
    assert [spec.name for spec in specs] == ["big", "far", "small"]
    assert [spec.port for spec in specs] == ports


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("workers: {cout: 3}", ["line 1", "workers.cout", "did you mean count"]),
        ("a: 1", ["line 1", "unknown key a"]),
        ("\n\nmaster: {http_port: eighty}", ["line 3", "http_port", "whole number"]),
        ("master: {http_port: 70000}", ["between 0 and 65535"]),
        ("workers: {threads: 0}", ["between 1"]),
        ("workers: {threads: true}", ["whole number"]),
        ("scheduler: {plan: quick}", ["fused, naive"]),
        ("scheduler: {prefetch: soon}", ["auto or a whole number"]),
        ("workers:\n  - {name: a}\n  - {name: a}", ["line 3", "two workers are named a"]),
        ("workers:\n  - {nam: a}", ["line 2", "did you mean name"]),
        ("workers:\n  - {name: spark-driver}", ["line 2", "spark-driver is no name"]),
        ("master: 3", ["mapping"]),
        ("- a", ["mapping"]),
        ("a: [", ["no YAML"]),
        ("state_dir: /a\nstate_dir: /b", ["stands twice"]),
        ("scheduler: {heartbeat_timeout_s: 1}", ["longer than"]),
        ("restart: {backoff_min_s: .nan}", ["number"]),
        ("engine: {name: flink}", ["local, spark"]),
        ("engine: {master: h:7077}", ["engine.master", "spark://HOST:PORT"]),
        ("engine:\n  conf: {spark.a: {ui: true}}", ["line 2", "engine.conf.spark.a", "one text"]),
        ("engine: {conf: [a]}", ["mapping of Spark's settings"]),
        (
            "engine: {conf: {driver.memory: 2g}}",
            ["engine.conf.driver.memory", "spark.driver.memory"],
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(path), {})
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_environment_and_overrides_are_checked_too() -> None:
    with pytest.raises(ConfigError, match="WORKER_THREADS"):
        load(None, {"WORKER_THREADS": "many"})
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        load(None, {}, ["workers.count"])
    with pytest.raises(ConfigError, match=r"did you mean workers\.count"):
        load(None, {}, ["worker.count=1"])
    with pytest.raises(ConfigError, match="MINISPARK_TOKEN_FILE"):
        load(None, {"MINISPARK_TOKEN_FILE": "/nowhere"})


def test_every_documented_variable_sets_a_key() -> None:
    values = {"MASTER_HOST": "h", "MINISPARK_STATE_DIR": "/s", "MINISPARK_INPUT_ROOTS": "/a:/b"}
    values |= {"MINISPARK_TOKEN": "t" * 16, "LOG_LEVEL": "debug", "LOG_FORMAT": "json"}
    values |= {"HEARTBEAT_INTERVAL_SECS": "3"}
    environ = {name: values.get(name, "7") for name in ENVIRONMENT}
    assert set(load(None, environ).origins) == set(ENVIRONMENT.values())


@pytest.mark.parametrize("token", ["", "fifteen letters"])
def test_f54_a_token_that_is_easily_guessed_is_refused(tmp_path: Path, token: str) -> None:
    file, yaml = tmp_path / "token", tmp_path / "c.yaml"
    file.write_text(f"{token}\n")
    yaml.write_text(f"security: {{token: '{token}'}}\n")
    for load_it in (
        lambda: load(None, {"MINISPARK_TOKEN": token}),
        lambda: load(None, {"MINISPARK_TOKEN_FILE": str(file)}),
        lambda: load(None, {}, [f"security.token={token}"]),
        lambda: load(str(yaml), {}),
    ):
        with pytest.raises(ConfigError, match=f"has {len(token)} characters.*at least 16"):
            load_it()
    assert load(None, {"MINISPARK_TOKEN": "sixteen letters!"}).config.security.token
