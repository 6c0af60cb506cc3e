"""`completion`: prints a script that completes this command line, for a shell."""

from __future__ import annotations

import argparse

from minispark.cli.render import print_json

EXAMPLES = """\
examples:
  source <(minispark completion bash)             in ~/.bashrc
  source <(minispark completion zsh)              in ~/.zshrc, after compinit
  minispark completion fish > ~/.config/fish/completions/minispark.fish
"""
SEE_ALSO = ("jobs", "ps")
EXITS = {1: "", 3: ""}
SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="the shell")


def run(args: argparse.Namespace) -> int:
    from minispark.cli.completion_bash import bash_script
    from minispark.cli.completion_others import fish_script, zsh_script
    from minispark.cli.completion_words import commands, common

    make = {"bash": bash_script, "zsh": zsh_script, "fish": fish_script}[args.shell]
    script = make(commands(), common())
    if args.json:
        print_json({"shell": args.shell, "script": script})
    else:
        print(script, end="")
    return 0
