"""The slow leaf of the command line: click, built from the same table, helps and explains."""

from __future__ import annotations

import sys
from typing import Any

from pyrunc.cli import main, table
from pyrunc.cli.parse import Parsed
from pyrunc.errors import Usage

main.enable_site()

import click  # noqa: E402  (importable only now)


class _Option(click.Option):
    """A click option whose way to say "=false" is not shown in the help."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        shown = self.secondary_opts
        self.secondary_opts = []
        try:
            return super().get_help_record(ctx)
        finally:
            self.secondary_opts = shown


class _Command(click.Command):
    """A command that takes Go's spellings of options as well: -long, -x=v, --flag=false."""

    spec: tuple[table.Option, ...] = ()
    mixed = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _canonical(args, self.spec, self.mixed))


class _Group(click.Group):
    spec = table.GLOBALS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _canonical(args, self.spec, False))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def parse(argv: list[str]) -> Parsed | int:
    """The command line, or the exit status after help was printed.

    Raises Usage, with "Incorrect Usage: ..." as its message.
    """
    try:
        result = program().main(args=list(argv), prog_name="pyrunc", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "pyrunc"
        text = error.format_message()
        option = getattr(error, "option_name", None)
        if option and "requires an argument" in text:
            text = f"flag needs an argument: {option}"
        raise Usage(f"Incorrect Usage: {text}", code="usage", hint=f"see `{where} --help`") from error
    except click.Abort:
        return 1
    except BrokenPipeError:
        return 0
    return result if isinstance(result, (Parsed, int)) else 0


def program() -> click.Group:
    """The whole command line as click sees it."""

    def nothing(**values: Any) -> Parsed | int:
        ctx = click.get_current_context()
        if ctx.invoked_subcommand is None:
            if values["version"]:
                return Parsed(_plain(table.GLOBALS, values), "", {}, [])
            click.echo(ctx.get_help())
        return 0

    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    group = _Group(
        "pyrunc",
        params=_params(table.GLOBALS),
        callback=nothing,
        help="Create and run containers as the OCI runtime specification says.",
        invoke_without_command=True,
        no_args_is_help=False,
        subcommand_metavar="COMMAND [ARGS]...",
        context_settings=settings,
    )
    for verb in table.VERBS.values():
        group.add_command(_command(verb))
    group.add_command(_help_command(group))
    return group


def _command(verb: table.Verb) -> click.Command:
    def accepted(**values: Any) -> Parsed:
        above = click.get_current_context().parent
        assert above is not None
        args = list(values.pop("args", ()))
        if len(args) < verb.least or (verb.most >= 0 and len(args) > verb.most):
            wanted = verb.arguments or "no arguments"
            raise click.UsageError(f"{verb.name} takes {wanted}, but {len(args)} were given")
        return Parsed(_plain(table.GLOBALS, above.params), verb.name, _plain(verb.options, values), args)

    params = _params(verb.options)
    params.append(click.Argument(["args"], nargs=-1, type=click.UNPROCESSED, metavar=verb.arguments or None))
    command = _Command(
        verb.name,
        params=params,
        callback=accepted,
        help=verb.help[0].upper() + verb.help[1:] + ".",
        context_settings={"allow_interspersed_args": verb.mixed},
        options_metavar="[OPTIONS]" if verb.options else "",
    )
    if not verb.arguments:
        params[-1].make_metavar = lambda *_, **__: ""  # type: ignore[method-assign]
    command.spec = verb.options
    command.mixed = verb.mixed
    return command


def _help_command(group: click.Group) -> click.Command:
    def show(name: str) -> int:
        above = click.get_current_context().parent
        assert above is not None
        if not name:
            click.echo(above.get_help())
            return 0
        command = group.commands.get(name)
        if command is None:
            raise click.UsageError(f"No such command '{name}'.", above)
        click.echo(command.get_help(click.Context(command, info_name=name, parent=above)))
        return 0

    argument = click.Argument(["name"], required=False, default="", metavar="[COMMAND]")
    return click.Command("help", params=[argument], callback=show, help="Show help of a command.")


def _params(options: tuple[table.Option, ...]) -> list[click.Parameter]:
    return [_param(option) for option in options]


def _param(option: table.Option) -> click.Parameter:
    short = [f"-{option.short}"] if option.short else []
    if option.kind == "flag":
        names = [*short, f"--{option.name}/--{option.name}-off", option.key]
        return _Option(names, is_flag=True, default=False, help=option.help)
    names = [*short, f"--{option.name}", option.key]
    kind: Any = click.STRING
    if option.choices:
        kind = click.Choice(option.choices)
    elif option.kind in ("int", "ints"):
        kind = click.IntRange(min=0)
    many = option.kind in ("list", "ints")
    return _Option(
        names,
        type=kind,
        metavar=option.metavar if not option.choices else None,
        default=None if many or (option.choices and not option.default) else option.initial(),
        multiple=many,
        show_default=bool(option.default),
        help=option.help,
    )


def _plain(options: tuple[table.Option, ...], values: dict[str, Any]) -> dict[str, Any]:
    """click's values in the form that the fast parser gives them."""
    found: dict[str, Any] = {}
    for option in options:
        value = values[option.key]
        if option.kind in ("list", "ints"):
            found[option.key] = list(value)
        else:
            found[option.key] = option.initial() if value is None else value
    return found


def _canonical(args: list[str], options: tuple[table.Option, ...], mixed: bool) -> list[str]:
    """Rewrites every known option as --name or --name=value; leaves the rest for click."""
    known = table.names(options)
    out: list[str] = []
    at = 0
    while at < len(args):
        word = args[at]
        at += 1
        if word == "--":
            return [*out, *args[at - 1 :]]
        if word[:1] != "-" or word == "-":
            out.append(word)
            if not mixed:
                return out + args[at:]
            continue
        name, equals, value = word[2 if word[1] == "-" else 1 :].partition("=")
        option = known.get(name)
        if option is None or (word[1] == "-" and len(name) == 1):
            out.append(word)
        elif option.kind == "flag":
            if equals and value not in table.TRUE and value not in table.FALSE:
                raise click.UsageError(f'invalid boolean value "{value}" for --{option.name}')
            off = equals and value in table.FALSE
            out.append(f"--{option.name}-off" if off else f"--{option.name}")
        elif equals:
            out.append(f"--{option.name}={value}")
        elif at < len(args):
            out.append(f"--{option.name}={args[at]}")
            at += 1
        else:
            out.append(f"--{option.name}")
    return out
