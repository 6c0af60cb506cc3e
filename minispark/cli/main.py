"""Finds the command, parses its options, runs it, and turns errors into exit statuses.

Imports only what the command needs: `--help` and `status` start quickly. Source: CLI.md.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from minispark import __version__
from minispark.cli import COMMON
from minispark.errors import (
    ClusterRuns,
    ConfigError,
    DeadlineExceeded,
    InvalidRequest,
    MiniSparkError,
    NoCluster,
)
from minispark.model.safe_text import escaped

if TYPE_CHECKING:
    from minispark.cli.pages import Page

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("up", "start a master and workers"),
    "down": ("down", "stop the cluster"),
    "restart": ("restart", "stop processes and start them again"),
    "scale": ("scale", "change the number of workers"),
    "ps": ("ps", "the cluster's processes"),
    "status": ("status", "workers and jobs, or one job"),
    "logs": ("logs", "logs of all processes, merged by time"),
    "config": ("config", "the effective configuration, and where each value came from"),
    "doctor": ("doctor", "what could be wrong here, and what to do"),
    "submit": ("submit", "submit a job file, or a word count"),
    "submit-join": ("submit_join", "submit the documented join"),
    "jobs": ("jobs", "list jobs"),
    "cancel": ("cancel", "cancel a job"),
    "results": ("results", "records of a job's final stage"),
    "explain": ("explain", "the plan of a job, as text"),
    "metrics": ("metrics", "the documented metrics"),
    "trace": ("trace", "what ran where and when, for Perfetto"),
    "story": ("story", "what became of one task, and why"),
    "replay": ("replay", "run one task again, here, under a debugger"),
    "run": ("run", "a private cluster, one job, its result, all stopped again"),
    "chaos": ("chaos", "break something, and watch"),
    "bench": ("bench", "measure this cluster beside its baselines"),
    "master": ("master", "one master in the foreground"),
    "worker": ("worker", "one worker in the foreground"),
    "token": ("token", "make a token for a cluster"),
    "certs": ("certs", "make a CA and a certificate, for TLS"),
    "completion": ("completion", "print a completion script for a shell"),
}
"""Name on the command line: (module, one line of help). A module has `EXAMPLES`, `SEE_ALSO`, and in
`EXITS` what its exit statuses mean, where it is not this:
"""
EXITS = {
    0: "done",
    1: "it failed",
    2: "the usage, the configuration or the job description is wrong",
    3: "no cluster runs here",
    130: "interrupted",
}

EXAMPLES = """\
examples:
  minispark run wordcount data/input.csv          count words, with no cluster up
  minispark up -d -c conf/3workers.yaml           start a cluster
  minispark submit -i data/input.csv --wait       run a word count on it
  minispark chaos kill-worker                     kill a worker while a job runs
  minispark status last                           how the newest job does
  minispark down                                  stop the cluster
"""


def nearest(word: str, known: Iterable[str]) -> str:
    """What an error says behind a word that nobody knows."""
    near = get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


class Parser(argparse.ArgumentParser):
    """Names the nearest option or value for one that it does not know; its help is a page of the
    manual.
    """

    see_also: tuple[str, ...] = ()
    exits: Mapping[int, str] = EXITS

    def page(self) -> Page:
        from minispark.cli.pages import page_of

        return page_of(self, self.epilog or "", self.see_also, self.exits)

    def format_help(self) -> str:
        from minispark.cli.pages import as_text

        return as_text(self.page())

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            said = f"{value!r} is none of {', '.join(known)}{nearest(str(value), known)}"
            raise argparse.ArgumentError(action, said)

    def error(self, message: str) -> NoReturn:
        hint = ""
        for word in sys.argv[1:]:
            name = word.partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                hint = nearest(name, self._option_string_actions)
        self.exit(2, f"{self.prog}: {message}{hint}\nSee {self.prog} --help.\n")


def common_options() -> argparse.ArgumentParser:
    """What every command takes."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group(COMMON)
    group.add_argument("--state-dir", metavar="DIR", help="the cluster's state directory")
    group.add_argument("-m", "--master", metavar="URL", help="the master's address")
    group.add_argument("--json", action="store_true", help="one JSON document on stdout")
    group.add_argument("-q", "--quiet", action="store_true", help="only results")
    group.add_argument("-v", "--verbose", action="store_true", help="of which cluster, and why not")
    version = f"minispark {__version__}"
    group.add_argument("--version", action="version", version=version, help="print the version")
    return common


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    gc.disable()  # until all is imported: that stays
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _end)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # whoever read stdout has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to be interrupted
        return 130
    except MiniSparkError as error:
        where = error.field if isinstance(error, InvalidRequest) else None
        prefix = f"{where}: " if where and not str(error).startswith(where) else ""
        print(f"minispark: {escaped(f'{prefix}{error}')}", file=sys.stderr)
        if not {"-v", "--verbose"}.isdisjoint(words):
            _print_causes(error)
        return exit_status(error)
    finally:
        gc.enable()


def _end(number: int, _: object) -> NoReturn:
    """A signal ends a command in order: what it holds is let go, what it made is removed."""
    raise SystemExit(128 + number)


def _print_causes(error: BaseException) -> None:
    """What lies behind an error, down to the first one."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
        print(f"  because of {type(error).__name__}: {escaped(str(error))}", file=sys.stderr)


def exit_status(error: MiniSparkError) -> int:
    """1 failed, 2 wrong usage or input, 3 no cluster or one too many, 4 timed out."""
    match error:
        case InvalidRequest() | ConfigError():
            return 2
        case NoCluster() | ClusterRuns():
            return 3
        case DeadlineExceeded():
            return 4
        case _:
            return 1


def _dispatch(words: list[str]) -> int:
    common = common_options()
    before, rest = common.parse_known_args(_leading_options(words))
    rest += words[len(_leading_options(words)) :]
    if rest[:1] == ["help"] and rest[1:]:
        rest = [*rest[1:], "--help"]
    if not rest or rest[0] in ("-h", "--help", "help"):
        _print_help()
        return 0 if rest else 2
    name = rest[0]
    if name not in COMMANDS:
        is_option = name.startswith("-")
        what = "option" if is_option else "command"
        hint = nearest(name, common._option_string_actions if is_option else COMMANDS)
        print(f"minispark: unknown {what} {name}{hint}\nSee minispark --help.", file=sys.stderr)
        return 2
    parser = parser_of(name)
    if "-h" in rest or "--help" in rest:
        parser.print_help()  # while parsing intermixed, arguments are not what they are
        return 0
    args = parser.parse_intermixed_args(rest[1:])  # `chaos kill-worker --watch worker-2`
    defaults = {
        "state_dir": None,
        "master": None,
        "json": False,
        "quiet": False,
        "verbose": False,
        **vars(before),
    }
    for option, value in defaults.items():
        if not hasattr(args, option):
            setattr(args, option, value)
    gc.freeze()
    gc.enable()
    code: int = _module_of(name).run(args)
    return code


def parser_of(name: str) -> Parser:
    """The parser of a command. Raises ClusterError for one that cannot be here."""
    module, text = _module_of(name), COMMANDS[name][1]
    parser = Parser(
        prog=f"minispark {name}",
        description=text[0].upper() + text[1:] + ".",
        epilog=getattr(module, "EXAMPLES", None),
        parents=[common_options()],
        allow_abbrev=False,
    )
    parser.see_also = getattr(module, "SEE_ALSO", ())
    exits = {**EXITS, **getattr(module, "EXITS", {})}
    parser.exits = {code: exits[code] for code in sorted(exits) if exits[code]}
    module.add_arguments(parser)
    return parser


def _module_of(name: str) -> Any:
    return importlib.import_module(f"minispark.cli.{COMMANDS[name][0]}")


def _leading_options(words: list[str]) -> list[str]:
    """The options that stand before the command, with their values."""
    end = 0
    while end < len(words) and words[end].startswith("-") and words[end] not in ("-h", "--help"):
        end += 2 if words[end] in ("--state-dir", "-m", "--master") else 1
    return words[:end]


def _print_help() -> None:
    print("Mini-Spark: a Spark-like batch cluster that one command starts on a laptop.\n")
    print(EXAMPLES)
    print("commands:")
    for name, (_, text) in COMMANDS.items():
        print(f"  {name:<12} {text}")
    print("\nminispark help COMMAND says more. Options of every command:")
    print("  --state-dir DIR  -m/--master URL  --json  -q  -v  --version")
