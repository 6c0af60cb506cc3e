"""Prints `docs/cli.md`: every command's page, from its parser. `scripts/docs` writes the file.

Must not know what commands do.
"""

from __future__ import annotations

from minispark.cli.main import COMMANDS, EXITS, common_options, parser_of
from minispark.cli.pages import as_markdown, page_of

HEAD = """\
# Command line

This file is made from the parsers of the commands by `scripts/docs`; a test compares them.

`minispark COMMAND`, or `python minispark.py COMMAND` in a checkout. Results go to stdout, progress
and diagnostics to stderr. There is no colour where stdout is no terminal, or `NO_COLOR` is set. JOB
is a job's id, a unique prefix of one, a name (its newest job), or `last`. A running cluster is
found through `--master`, `MASTER_URL`, or the `cluster.json` of the state directory.

`minispark help COMMAND` shows a command's page; `minispark completion SHELL` prints what makes a
shell complete all this.

## Commands

"""


def manual() -> str:
    """The whole document."""
    lines = [f"- [{name}](#minispark-{name}): {text}" for name, (_, text) in COMMANDS.items()]
    common = page_of(common_options(), "", (), {**EXITS, 4: "it took too long"})
    lines += ["", "## Options of every command", "", "They may stand before the command, too.", ""]
    lines += [f"- `{entry.names}`: {entry.text}" for entry in common.common]
    lines += ["", "## Exit status", ""]
    lines += [f"- {entry.names}: {entry.text}" for entry in common.exits]
    pages = (as_markdown(parser_of(name).page()) for name in COMMANDS)
    return "\n".join([HEAD + "\n".join(lines), "", *pages])


if __name__ == "__main__":
    print(manual(), end="")
