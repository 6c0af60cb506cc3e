"""The completion script for bash, from version 3.2 on. Must not know which commands there are."""

from __future__ import annotations

from collections.abc import Iterable

from minispark.cli.completion_words import Command, Option, Value

NAMES = r"""s/^ *"name": "\([A-Za-z0-9._-]*\)",\{0,1\}$/\1/p"""
IDS = r"""s/^    "id": "\([0-9a-f-]*\)",$/\1/p"""
"""Of a JobInfo, not of its nodes: those are further to the right."""
JOB_NAMES = r"""s/^      "name": "\([A-Za-z0-9._-]*\)",$/\1/p"""

_HEAD = """\
# bash completion for minispark. Made by `minispark completion bash`; load it with
#   source <(minispark completion bash)
"""

_FUNCTIONS = r"""
# Words of what the cluster has; quietly nothing when none runs.
_minispark_jobs() {
    printf 'last\n'
    "$@" jobs --json 2>/dev/null </dev/null | sed -n -e 'IDS' -e 'JOB_NAMES'
}
_minispark_processes() {
    "$@" ps --json 2>/dev/null </dev/null | sed -n 'NAMES'
}

_minispark() {
    local line="${COMP_LINE:0:COMP_POINT}" command="" option="" position=1 about="" word item i
    local -a words ask
    COMPREPLY=()
    read -r -a words <<<"$line"
    case "$line" in *[[:space:]]) words+=("") ;; esac
    local last=$((${#words[@]} - 1))
    local cur="${words[last]}"
    ask=("${words[0]/#\~/$HOME}")
    for ((i = 1; i < last; i++)); do
        word="${words[i]}"
        if [ -n "$option" ]; then
            case "$option" in --state-dir | -m | --master) ask+=("$option" "$word") ;; esac
            option=""
        elif [ "${word#-}" != "$word" ]; then
            case "$word" in --state-dir=* | --master=*) ask+=("$word") ;; esac
            if _minispark_about "$command" "$word"; then option="$word"; fi
        elif [ -z "$command" ]; then
            command="$word"
        else
            position=$((position + 1))
        fi
    done
    about=""
    if [ -n "$option" ]; then
        _minispark_about "$command" "$option"
    elif [ "${cur#--*=}" != "$cur" ]; then
        _minispark_about "$command" "${cur%%=*}" || return 0
        cur="${cur#*=}"
    elif [ "${cur#-}" != "$cur" ]; then
        about="$(_minispark_options "$command")"
    elif [ -z "$command" ]; then
        about="@command"
    else
        _minispark_about "$command" "$position" || return 0
    fi
    local -a found=()
    for item in $about; do
        case "$item" in
            @file) word="$(compgen -f -- "$cur")"; compopt -o filenames 2>/dev/null ;;
            @directory) word="$(compgen -d -- "$cur")"; compopt -o filenames 2>/dev/null ;;
            @job) word="$(compgen -W "$(_minispark_jobs "${ask[@]}")" -- "$cur")" ;;
            @process) word="$(compgen -W "$(_minispark_processes "${ask[@]}")" -- "$cur")" ;;
            @worker)
                word="$(_minispark_processes "${ask[@]}" | grep -v -x -e supervisor -e master)"
                word="$(compgen -W "$word" -- "$cur")"
                ;;
            @command) word="$(compgen -W "$(_minispark_commands)" -- "$cur")" ;;
            *) word="$(compgen -W "$item" -- "$cur")" ;;
        esac
        while IFS= read -r word; do
            if [ -n "$word" ]; then COMPREPLY+=("$word"); fi
        done <<<"$word"
    done
}
complete -F _minispark minispark minispark.py
"""


def bash_script(commands: tuple[Command, ...], common: tuple[Option, ...]) -> str:
    """The script, from what may stand where."""
    functions = _FUNCTIONS.replace("JOB_NAMES", JOB_NAMES).replace("IDS", IDS)
    return "\n".join(
        [
            _HEAD,
            _function("_minispark_commands", f"printf '%s\\n' {_words(c.name for c in commands)}"),
            _options(commands, common),
            _about(commands, common) + functions.replace("NAMES", NAMES),
        ]
    )


def _function(name: str, *lines: str) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"{name}() {{\n{body}\n}}"


def _words(words: Iterable[str]) -> str:
    return " ".join(words)


def _options(commands: tuple[Command, ...], common: tuple[Option, ...]) -> str:
    """The options of a command; of none, those that may stand before it."""
    lines = [
        f"    {command.name}) printf '%s\\n' {_words(_names(command.options))} ;;"
        for command in commands
        if command.options
    ]
    lines.append(f"    *) printf '%s\\n' {_words([*_names(common), '-h', '--help'])} ;;")
    return _function("_minispark_options", 'case "$1" in', *lines, "esac")


def _names(options: Iterable[Option]) -> list[str]:
    return [name for option in options for name in option.names]


def _about(commands: tuple[Command, ...], common: tuple[Option, ...]) -> str:
    """Sets `about` to what is said after an option, or at a position. Fails for an option without
    value, and where nothing more may be said.
    """
    of_options, of_positions = list[str](), list[str]()
    for option in common:
        of_options += _case((f'*" {name}"' for name in option.names), option.value)
    for command in commands:
        for option in command.options:
            if option not in common:
                names = (f'"{command.name} {name}"' for name in option.names)
                of_options += _case(names, option.value)
        for position, value in enumerate(command.arguments, start=1):
            at = f'"{command.name} "*' if value.is_repeated else f'"{command.name} {position}"'
            of_positions += _case((at,), value)
    lines = (*of_options, '    *" -"*) return 1 ;;', *of_positions, "    *) return 1 ;;")
    return _function("_minispark_about", 'case "$1 $2" in', *lines, "esac")


def _case(patterns: Iterable[str], value: Value | None) -> list[str]:
    if value is None:
        return []
    items = [*value.words, *(f"@{kind.value}" for kind in value.kinds)]
    return [f'    {" | ".join(patterns)}) about="{_words(items)}" ;;']
