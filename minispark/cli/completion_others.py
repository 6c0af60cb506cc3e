"""The completion scripts for zsh and fish. Must not know which commands there are."""

from __future__ import annotations

from minispark.cli.completion_bash import IDS, JOB_NAMES, NAMES
from minispark.cli.completion_words import Command, Kind, Option, Value

# --- zsh -----------------------------------------------------------------------------------------

_ZSH_HEAD = r"""#compdef minispark minispark.py
# zsh completion for minispark. Made by `minispark completion zsh`; load it after compinit with
#   source <(minispark completion zsh)

# The command line's own options say of which cluster the words are.
_minispark_ask() {
    local -a ask
    local name value
    for name in --state-dir -m --master; do
        value=${opt_args[$name]:-${_minispark_before[$name]}}
        if [[ -n $value ]]; then ask+=($name ${(Q)value}); fi
    done
    ${_minispark_program:-minispark} $1 --json $ask 2>/dev/null </dev/null
}
_minispark_jobs() {
    compadd -- last ${(f)"$(_minispark_ask jobs | sed -n -e 'IDS' -e 'JOB_NAMES')"}
}
_minispark_processes() {
    compadd -- ${(f)"$(_minispark_ask ps | sed -n 'NAMES')"}
}
_minispark_workers() {
    compadd -- ${${(f)"$(_minispark_ask ps | sed -n 'NAMES')"}:#(supervisor|master)}
}
"""
_ZSH_ACTIONS = {
    Kind.FILE: "_files",
    Kind.DIRECTORY: "_files -/",
    Kind.JOB: "_minispark_jobs",
    Kind.PROCESS: "_minispark_processes",
    Kind.WORKER: "_minispark_workers",
    Kind.COMMAND: "_minispark_commands",
}


def zsh_script(commands: tuple[Command, ...], common: tuple[Option, ...]) -> str:
    """The script, from what may stand where."""
    head = _ZSH_HEAD.replace("JOB_NAMES", JOB_NAMES).replace("IDS", IDS).replace("NAMES", NAMES)
    lines = ["_minispark_commands() {", "    local -a commands", "    commands=("]
    lines += [f"        {_quoted(f'{c.name}:{c.purpose}')}" for c in commands]
    lines += ["    )", "    _describe command commands", "}", ""]
    lines += ["_minispark() {", "    local curcontext=$curcontext state line"]
    lines += ["    local _minispark_program=${(Q)words[1]}", "    typeset -A opt_args"]
    first = [*_zsh_options(common), "'1:COMMAND:_minispark_commands'", "'*:: :->arguments'"]
    lines.append("    typeset -A _minispark_before")
    lines += [_zsh_call(4, '-C -A "-*"', first), "    [[ $state == arguments ]] || return", ""]
    lines.append('    _minispark_before=("${(@kv)opt_args}")')
    lines.append("    case $words[1] in")
    for command in commands:
        specs = _zsh_options(command.options)
        for position, value in enumerate(command.arguments, start=1):
            at = "*" if value.is_repeated else str(position)
            specs.append(_quoted(f"{at}:{value.label}:{_zsh_action(value)}"))
        lines += [f"        {command.name})", _zsh_call(12, "", specs), "            ;;"]
    lines += ["    esac", "}", ""]
    lines += ['if [[ $funcstack[1] == _minispark ]]; then _minispark "$@"']
    lines += ["else compdef _minispark minispark minispark.py", "fi"]
    return head + "\n" + "\n".join(lines) + "\n"


def _zsh_call(indent: int, flags: str, specs: list[str]) -> str:
    space = " " * indent
    head = f"{space}_arguments {flags}".rstrip()
    return " \\\n".join([head, *(f"{space}    {spec}" for spec in specs)])


def _zsh_options(options: tuple[Option, ...]) -> list[str]:
    specs = []
    for option in options:
        text = option.text.replace("[", "(").replace("]", ")").replace(":", r"\:")
        for name in option.names:
            spec = f"*{name}[{text}]"
            if option.value is not None:
                is_long = name.startswith("--")
                spec = f"*{name}{'=' if is_long else ''}[{text}]"
                spec += f":{option.value.label}:{_zsh_action(option.value)}"
            specs.append(_quoted(spec))
    return specs


def _zsh_action(value: Value) -> str:
    """Words and kinds together need a function of alternatives."""
    words = f"({' '.join(value.words)})" if value.words else ""
    actions = [*([words] if words else []), *(_ZSH_ACTIONS[kind] for kind in value.kinds)]
    if len(actions) < 2:
        return actions[0] if actions else " "
    alternatives = " ".join(f'"{value.label}\\:{value.label}\\:{action}"' for action in actions)
    return f" _alternative {alternatives}"  # the space: without further arguments


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# --- fish ----------------------------------------------------------------------------------------

_FISH_HEAD = r"""# fish completion for minispark. Made by `minispark completion fish`; save it as
#   ~/.config/fish/completions/minispark.fish

# The command line's own options say of which cluster the words are.
function __minispark_ask
    set -l words (commandline -opc)
    set -l ask
    for i in (seq 2 (math (count $words) - 1))
        if contains -- $words[$i] --state-dir -m --master
            set -a ask $words[$i] $words[(math $i + 1)]
        end
    end
    $words[1] $argv[1] --json $ask 2>/dev/null </dev/null
end
function __minispark_jobs
    echo last
    __minispark_ask jobs | sed -n -e 'IDS' -e 'JOB_NAMES'
end
function __minispark_processes
    __minispark_ask ps | sed -n 'NAMES'
end
function __minispark_workers
    __minispark_processes | string match -v -r '^(supervisor|master)$'
end
# The words after the program that are no options and no values of options: the command, then its
# arguments. Prints how many of these there are, when the command is the first argument.
function __minispark_at
    set -l words (commandline -opc)
    set -l said
    set -l is_value 0
    for word in $words[2..-1]
        if test $is_value = 1
            set is_value 0
        else if string match -q -- '-*' $word
            contains -- "$said[1] $word" $__minispark_with_value; and set is_value 1
            contains -- " $word" $__minispark_with_value; and set is_value 1
        else
            set -a said $word
        end
    end
    if test (count $argv) = 0
        test (count $said) = 0
    else if test "$said[1]" = "$argv[1]"
        test (count $argv) = 1; or test (count $said) = "$argv[2]"
    else
        false
    end
end
"""
_FISH_ACTIONS = {
    Kind.DIRECTORY: "__fish_complete_directories (commandline -ct)",
    Kind.JOB: "__minispark_jobs",
    Kind.PROCESS: "__minispark_processes",
    Kind.WORKER: "__minispark_workers",
    Kind.COMMAND: "__minispark_commands",
}


def fish_script(commands: tuple[Command, ...], common: tuple[Option, ...]) -> str:
    """The script, from what may stand where."""
    head = _FISH_HEAD.replace("JOB_NAMES", JOB_NAMES).replace("IDS", IDS).replace("NAMES", NAMES)
    lines = ["function __minispark_commands"]
    lines += [f"    printf '%s\\t%s\\n' {c.name} {_fish_quoted(c.purpose)}" for c in commands]
    lines += ["end", f"set -g __minispark_with_value {' '.join(_with_value(commands, common))}", ""]
    complete = "complete -c minispark"
    lines += [f"{complete} -f", f"{complete} -n __minispark_at -a '(__minispark_commands)'"]
    for option in common:
        lines.append(f"{complete}{_fish_option(option)}")
    for command in commands:
        lines.append("")
        here = f"{complete} -n '__minispark_at {command.name}'"
        lines += [f"{here}{_fish_option(o)}" for o in command.options if o not in common]
        for position, value in enumerate(command.arguments, start=1):
            at = "" if value.is_repeated else f" {position}"
            offered = _fish_offered(value)
            if offered:
                lines.append(f"{complete} -n '__minispark_at {command.name}{at}'{offered}")
    return head + "\n".join(lines) + "\n"


def _with_value(commands: tuple[Command, ...], common: tuple[Option, ...]) -> list[str]:
    """`'COMMAND OPTION'` of every option that takes a value; of the common ones without command."""
    found = [("", option) for option in common]
    found += [(c.name, option) for c in commands for option in c.options if option not in common]
    return [
        _fish_quoted(f"{command} {name}")
        for command, option in found
        if option.value is not None
        for name in option.names
    ]


def _fish_option(option: Option) -> str:
    words = [
        f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}" for name in option.names
    ]
    if option.value is not None:
        words.append(f" -r{_fish_offered(option.value) or ' -f'}")
    return "".join(words) + f" -d {_fish_quoted(option.text)}"


def _fish_offered(value: Value) -> str:
    """Files are fish's own matter: it also knows them behind `--input=`."""
    items = [*value.words, *(f"({_FISH_ACTIONS[k]})" for k in value.kinds if k != Kind.FILE)]
    offered = f" -a {_fish_quoted(' '.join(items))}" if items else ""
    return offered + (" -F" if Kind.FILE in value.kinds else " -f" if items else "")


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
