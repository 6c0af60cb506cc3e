"""`config`: the effective configuration as YAML, and where each value came from."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from typing import Any

from minispark.cli.render import print_json
from minispark.config import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", help="a YAML configuration")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


def run(args: argparse.Namespace) -> int:
    import yaml

    overrides = list(args.set)
    if args.state_dir:
        overrides.append(f"state_dir={args.state_dir}")
    loaded = load(args.config, os.environ, overrides)
    tree: dict[str, Any] = asdict(loaded.config)
    listed = tree.pop("worker_list")
    if listed is not None:
        tree["workers"] = list(listed)
    tree["input_roots"] = list(tree["input_roots"])
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
