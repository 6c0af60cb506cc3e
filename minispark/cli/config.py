"""`config`: the effective configuration as YAML, and where each value came from."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import asdict
from typing import Any

from minispark.cli.render import print_json
from minispark.cli.up import add_config_options
from minispark.config import load

EXAMPLES = """\
examples:
  minispark config                                 the defaults, and what the environment changes
  minispark config -c conf/3workers.yaml --set workers.threads=4
"""
SEE_ALSO = ("up", "doctor")
EXITS = {1: "", 3: ""}
SECRET = re.compile("secret|password|token|access[.]?key", re.IGNORECASE)
"""Names of Spark's settings that Spark itself does not show."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_options(parser)


def run(args: argparse.Namespace) -> int:
    import yaml

    overrides = list(args.set)
    if args.state_dir:
        overrides.append(f"state_dir={args.state_dir}")
    loaded = load(args.config, os.environ, overrides)
    tree: dict[str, Any] = asdict(loaded.config)
    listed = tree.pop("worker_list")
    if listed is not None:
        tree["workers"] = [{k: v for k, v in w.items() if v is not None} for w in listed]
    tree["input_roots"] = list(tree["input_roots"])
    conf = dict(loaded.config.engine.conf)
    tree["engine"]["conf"] = {k: "(set)" if SECRET.search(k) else v for k, v in conf.items()}
    if tree["security"]["token"] != "auto":
        tree["security"]["token"] = "(set)"
    if args.json:
        print_json({"config": tree, "origins": loaded.origins})
        return 0
    for line in yaml.safe_dump(tree, sort_keys=False, default_flow_style=False).splitlines():
        print(line)
    print("# where values that are no defaults came from:")
    for key, origin in sorted(loaded.origins.items()):
        print(f"#   {key}: {origin}")
    return 0
