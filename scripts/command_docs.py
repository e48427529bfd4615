"""Everything that is made from the table of commands: completion, man pages, docs/commands.md.

command_docs.py bash|zsh|fish OUT   a completion
command_docs.py man OUT...          man pages; the names say which: pyrunc.1, pyrunc-VERB.1
command_docs.py --man-pages         their names, one a line
command_docs.py markdown OUT        the reference
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]

if TYPE_CHECKING:
    from pyrunc.cli.table import Option, Verb

SUMMARY = "create and run containers as the OCI runtime specification says"
_DIRECTORIES = ("DIR", "BUNDLE")
_FILES = ("FILE", "PATH")


def load_table() -> Any:
    """pyrunc/cli/table.py, which imports nothing: the package need not be installed."""
    spec = importlib.util.spec_from_file_location("table", ROOT / "pyrunc" / "cli" / "table.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["table"] = module
    spec.loader.exec_module(module)
    return module


TABLE = load_table()
VERBS: list[Verb] = list(TABLE.VERBS.values())
GLOBALS: tuple[Option, ...] = TABLE.GLOBALS


def takes_id(verb: Verb) -> bool:
    return verb.arguments.startswith("ID")


def takes_value(option: Option) -> bool:
    return option.kind != "flag"


def spellings(option: Option) -> list[str]:
    return [f"-{option.short}", f"--{option.name}"] if option.short else [f"--{option.name}"]


# bash

_BASH = """# bash completion of pyrunc, made from its table of commands

_pyrunc_verb_options() {{
    case $1 in
{options}
    esac
}}

# What follows an option that takes a value; fails for one that takes none.
_pyrunc_value() {{
    case $1 in
{values}
        *) return 1 ;;
    esac
}}

_pyrunc() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} verb='' root='' at word
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${{COMP_WORDS[at]}}
        case $word in
            --root) root=${{COMP_WORDS[++at]}} ;;
            {global_values}) ((at++)) ;;
            -*) ;;
            *) verb=$word; break ;;
        esac
    done
    if _pyrunc_value "$verb ${{COMP_WORDS[COMP_CWORD - 1]}}"; then
        return
    elif [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$(_pyrunc_verb_options "$verb")" -- "$current"))
    elif [[ -z $verb ]]; then
        COMPREPLY=($(compgen -W "{verbs}" -- "$current"))
    else
        case $verb in
            {with_id})
                word=$(pyrunc ${{root:+--root "$root"}} list -q 2>/dev/null)
                COMPREPLY=($(compgen -W "$word" -- "$current")) ;;
            *) COMPREPLY=($(compgen -d -- "$current")) ;;
        esac
    fi
}}

complete -F _pyrunc pyrunc
"""


def bash() -> str:
    rows = [("''", GLOBALS), *((verb.name, verb.options) for verb in VERBS)]
    options, values = [], []
    for name, given in rows:
        words = " ".join(word for option in given for word in spellings(option))
        options.append(f"        {name}) echo '{words}{' ' if words else ''}--help' ;;")
        for option in filter(takes_value, given):
            verb = "" if name == "''" else name
            patterns = "|".join(f"'{verb} {word}'" for word in spellings(option))
            values.append(f"        {patterns}) {_bash_value(option)} ;;")
    return _BASH.format(
        options="\n".join(options),
        values="\n".join(values),
        global_values="|".join(
            word for o in GLOBALS if takes_value(o) and o.name != "root" for word in spellings(o)
        ),
        verbs=" ".join(verb.name for verb in VERBS),
        with_id="|".join(verb.name for verb in VERBS if takes_id(verb)),
    )


def _bash_value(option: Option) -> str:
    if option.choices:
        return f"COMPREPLY=($(compgen -W '{' '.join(option.choices)}' -- \"$current\"))"
    if option.metavar in _DIRECTORIES:
        return 'COMPREPLY=($(compgen -d -- "$current"))'
    return 'COMPREPLY=($(compgen -f -- "$current"))' if option.metavar in _FILES else ":"


# zsh

_ZSH = """#compdef pyrunc
# zsh completion of pyrunc, made from its table of commands

_pyrunc_containers() {{
    local -a ids
    ids=(${{(f)"$(pyrunc ${{(kv)opt_args[(I)--root]}} list -q 2>/dev/null)"}})
    compadd -a ids
}}

_pyrunc() {{
    local context state line
    typeset -A opt_args
    local -a verbs
    verbs=(
{verbs}
    )
    _arguments -C \\
{globals}
        '1:command:->verb' '*::argument:->argument'
    case $state in
        verb) _describe command verbs ;;
        argument)
            case $words[1] in
{arguments}
            esac ;;
    esac
}}

_pyrunc "$@"
"""


def zsh() -> str:
    verbs = [f"        '{verb.name}:{_zsh_text(verb.help)}'" for verb in VERBS]
    arguments = []
    for verb in VERBS:
        words = [_zsh_option(option) for option in verb.options]
        words.append("'*:container:_pyrunc_containers'" if takes_id(verb) else "'*:directory:_files -/'")
        arguments.append(f"                {verb.name}) _arguments {' '.join(words)} ;;")
    return _ZSH.format(
        verbs="\n".join(verbs),
        globals="\n".join(f"        {_zsh_option(option)} \\" for option in GLOBALS),
        arguments="\n".join(arguments),
    )


def _zsh_option(option: Option) -> str:
    text = f"[{_zsh_text(option.help)}]"
    equals = ""
    if takes_value(option):
        text += f":{_zsh_text(option.metavar.lower() or 'value')}:{_zsh_value(option)}"
        equals = "="
    star = "*" if option.kind in ("list", "ints") else ""
    found = f"'{star}--{option.name}{equals}{text}'"
    return f"{found} '{star}-{option.short}{text}'" if option.short else found


def _zsh_value(option: Option) -> str:
    if option.choices:
        return f"({' '.join(option.choices)})"
    if option.metavar in _DIRECTORIES:
        return "_files -/"
    return "_files" if option.metavar in _FILES else " "


def _zsh_text(text: str) -> str:
    return text.replace("'", "'\\''").replace("[", "(").replace("]", ")").replace(":", "\\:")


# fish


def fish() -> str:
    names = " ".join(verb.name for verb in VERBS)
    lines = [
        "# fish completion of pyrunc, made from its table of commands",
        "complete -c pyrunc -f",
    ]
    lines += [_fish_option(option, "not __fish_seen_subcommand_from $__pyrunc_verbs") for option in GLOBALS]
    for verb in VERBS:
        lines.append(
            "complete -c pyrunc -n 'not __fish_seen_subcommand_from $__pyrunc_verbs'"
            f" -a {verb.name} -d {_fish_text(verb.help)}"
        )
        seen = f"__fish_seen_subcommand_from {verb.name}"
        lines += [_fish_option(option, seen) for option in verb.options]
        if takes_id(verb):
            lines.append(f"complete -c pyrunc -n '{seen}' -a '(pyrunc list -q 2>/dev/null)'")
    lines.insert(1, f"set -g __pyrunc_verbs {names}")
    return "\n".join(lines) + "\n"


def _fish_option(option: Option, condition: str) -> str:
    line = f"complete -c pyrunc -n '{condition}' -l {option.name}"
    if option.short:
        line += f" -s {option.short}"
    if option.choices:
        line += f" -x -a '{' '.join(option.choices)}'"
    elif takes_value(option):
        files = option.metavar in _FILES + _DIRECTORIES
        line += " -r -F" if files else " -x"
    return f"{line} -d {_fish_text(option.help)}"


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# man

_PAGE = """.\\" made from the table of commands
.TH {title} 1 "" "pyrunc" "User Commands"
.SH NAME
{name} \\- {summary}
.SH SYNOPSIS
{synopsis}
{body}"""

_GENERAL = """.SH EXIT STATUS
.TP
.B 0
It is done.
.TP
.B 1
An error; of
.B exec
it is 255.
.PP
.B run
and
.B exec
in the foreground end with the status of the program, 128+N if signal N ended it.
.SH ENVIRONMENT
.TP
.B XDG_RUNTIME_DIR
Without root's privileges the state is kept in
.IR $XDG_RUNTIME_DIR/pyrunc .
.TP
.B LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES
Descriptors from 3 on that
.B create
and
.B run
pass on to the container: see
.BR sd_listen_fds (3).
.TP
.B NOTIFY_SOCKET
Gets READY=1 when the container has sent it: see
.BR sd_notify (3).
.SH FILES
.TP
.I /run/pyrunc
The state of containers, unless
.B \\-\\-root
names another directory.
"""


def man_pages() -> list[str]:
    return ["pyrunc.1", *(f"pyrunc-{verb.name}.1" for verb in VERBS)]


def man(page: str) -> str:
    name = page.removesuffix(".1")
    if name == "pyrunc":
        body = ".SH OPTIONS\n" + _man_options(GLOBALS) + ".SH COMMANDS\n"
        for verb in VERBS:
            body += f".TP\n.BR pyrunc\\-{_roff(verb.name)} (1)\n{_roff(_sentence(verb.help))}\n"
        synopsis = ".B pyrunc\n[OPTIONS] COMMAND [ARGUMENTS]"
        return _PAGE.format(
            title="PYRUNC", name=name, summary=SUMMARY, synopsis=synopsis, body=body + _GENERAL
        )
    verb = TABLE.VERBS[name.removeprefix("pyrunc-")]
    arguments = f"{'[OPTIONS] ' if verb.options else ''}{_roff(verb.arguments)}"
    synopsis = f".B pyrunc {_roff(verb.name)}\n{arguments}".rstrip()
    body = f".SH DESCRIPTION\n{_roff(_sentence(verb.help))}\n"
    if not verb.mixed:
        body += "Options come before the first argument: what follows belongs to the command.\n"
    if verb.options:
        body += ".SH OPTIONS\n" + _man_options(verb.options)
    body += ".SH SEE ALSO\n.BR pyrunc (1)\n"
    return _PAGE.format(
        title=name.upper().replace("-", "\\-"),
        name=_roff(name),
        summary=_roff(verb.help),
        synopsis=synopsis,
        body=body,
    )


def _man_options(options: tuple[Option, ...]) -> str:
    text = ""
    for option in options:
        words = [f"\\fB{_roff(word)}\\fR" for word in spellings(option)]
        value = f" \\fI{_roff(option.metavar or 'VALUE')}\\fR" if takes_value(option) else ""
        text += f".TP\n{', '.join(words)}{value}\n{_roff(_details(option))}\n"
    return text


def _details(option: Option) -> str:
    text = _sentence(option.help)
    if option.choices:
        text += f" One of: {', '.join(option.choices)}."
    if option.default:
        text += f" Default: {option.default}."
    if option.kind in ("list", "ints"):
        text += " Can be given more than once."
    return text


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


# Markdown


_MARKDOWN = """# Commands

Made from the table of commands by `make command-docs`. `pyrunc VERB --help` prints the same.

`pyrunc [OPTIONS] COMMAND [ARGUMENTS]`

{options}
A value follows its option after a space or `=`. `-long` is taken for `--long`, as programs in Go do.
"""


def markdown() -> str:
    text = _MARKDOWN.format(options=_markdown_options(GLOBALS))
    for verb in VERBS:
        words = ("pyrunc", verb.name, "[OPTIONS]" if verb.options else "", verb.arguments)
        line = " ".join(filter(None, words))
        text += f"\n## {verb.name}\n\n{_sentence(verb.help)}\n\n`{line}`\n"
        if not verb.mixed:
            text += "\nOptions come before the first argument.\n"
        if verb.options:
            text += "\n" + _markdown_options(verb.options)
    return text


def _markdown_options(options: tuple[Option, ...]) -> str:
    rows = "| option | meaning |\n| --- | --- |\n"
    for option in options:
        value = f" {option.metavar or 'VALUE'}".replace("|", "\\|") if takes_value(option) else ""
        names = ", ".join(f"`{word}{value}`" for word in reversed(spellings(option)))
        rows += f"| {names} | {_details(option)} |\n"
    return rows


def main(arguments: list[str]) -> None:
    match arguments:
        case ["--man-pages"]:
            print("\n".join(man_pages()))
        case ["man", *outputs]:
            for output in outputs:
                Path(output).write_text(man(Path(output).name))
        case [("bash" | "zsh" | "fish" | "markdown") as kind, output]:
            Path(output).write_text({"bash": bash, "zsh": zsh, "fish": fish, "markdown": markdown}[kind]())
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
