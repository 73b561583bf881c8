"""The command line: one file per verb, found by name.

A verb is a module of this package whose name does not start with an underscore; it holds one
function `command`, whose docstring is the help text (`exec_` is the verb `exec`), and an `EXAMPLE`.
A verb takes flags, makes one call, prints. What several verbs share is in `_output`.

Standard output carries the answer (with `--json`, JSON and nothing else); progress, warnings and
errors go to standard error. Errors of `harness.errors` decide the exit code; nobody sees a
traceback unless AMBIENTBENCH_DEBUG is set.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import json
import logging
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from harness.cli._output import replace_characters
from harness.errors import AmbientbenchError, ExitCode
from harness.interrupts import Interrupted, interrupts

PROGRAM = "ambientbench"
DEBUG_ENV = "AMBIENTBENCH_DEBUG"

CommandLineError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""What the option parser raises; typer carries its own click since 0.20, so it has no stable import."""


def verbs() -> list[str]:
    """Every verb's name, sorted; nothing is imported."""
    return sorted(_modules())


def _modules() -> dict[str, str]:
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return {name.rstrip("_"): name for name in names if not name.startswith("_")}


class Verbs(TyperGroup):
    """Imports a verb's module only when the verb is used, so that no verb pays for another's imports."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # the base class's signature
        """All verbs' names."""
        return verbs()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  # the base class's signature
        """The verb of that name, or None."""
        modules = _modules()
        if cmd_name not in modules:
            return None
        module = importlib.import_module(f"{__name__}.{modules[cmd_name]}")
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(cmd_name, epilog=f"Example: {PROGRAM} {module.EXAMPLE}")(module.command)
        return typer.main.get_command(single)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that the first argument names; an unknown one is answered with the nearest and all."""
        if args and not args[0].startswith("-") and args[0] not in verbs():
            nearest = difflib.get_close_matches(args[0], verbs(), n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(verbs())}."
            ctx.fail(f"unknown command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 the run failed, 2 usage or suite error, 3 environment unfit, "
    "4 a threshold of the suite was missed, 5 a regression under a gate, "
    "6 a cell is invalid (or a gate's answer is open), 130 interrupted.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {importlib.metadata.version(PROGRAM)}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="More log lines on standard error; twice: all.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Measure the data path of Istio ambient mode on a testbed of network namespaces."""
    del version
    level = logging.ERROR if quiet else {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    replace_characters()
    with interrupts():
        code = obey(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = ExitCode.BROKEN_PIPE
    if code == ExitCode.BROKEN_PIPE:
        # The interpreter flushes once more on its way out; give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def obey(arguments: Sequence[str]) -> int:
    """Run one command line; every way to end becomes an exit code.

    Returns:
        An `ExitCode`, or the exit code of the command that `exec` ran.
    """
    try:
        result = typer.main.get_command(app).main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except BrokenPipeError:
        return ExitCode.BROKEN_PIPE
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):
            return ExitCode.BROKEN_PIPE
        return exc.code if isinstance(exc.code, int) else ExitCode.RUN_FAILED
    except (Exception, KeyboardInterrupt, Interrupted) as exc:  # noqa: BLE001  # the last line of defence: one line, no traceback
        before_dashes = arguments[: arguments.index("--")] if "--" in arguments else arguments
        return _complain(exc, as_json="--json" in before_dashes)
    return result if isinstance(result, int) else ExitCode.OK


def _complain(error: BaseException, *, as_json: bool) -> int:
    """Say on standard error how the command ended, as JSON on standard output too; the exit code."""
    if os.environ.get(DEBUG_ENV):
        traceback.print_exception(error)
    kind, code, message = "internal-error", ExitCode.RUN_FAILED, f"{type(error).__name__}: {error}"
    if isinstance(error, AmbientbenchError):
        kind, code, message = error.kind, error.exit_code, str(error)
    elif isinstance(error, CommandLineError):
        kind, code, message = "usage-error", ExitCode.USAGE, _usage(error)
    elif isinstance(error, KeyboardInterrupt | typer.Abort):
        kind, code, message = "interrupted", ExitCode.INTERRUPTED, "interrupted"
    elif isinstance(error, Interrupted):
        kind, code, message = "interrupted", ExitCode(error.exit_code), str(error)
    else:
        message = f"internal error: {message} (set {DEBUG_ENV}=1 to see where)"
    try:
        sys.stderr.write(f"{PROGRAM}: {message}\n")
        if as_json:
            document = {"error": {"kind": kind, "message": message, "exit_code": int(code)}}
            sys.stdout.write(json.dumps(document, indent=2) + "\n")
    except BrokenPipeError:
        return ExitCode.BROKEN_PIPE
    return code


def _usage(error: Exception) -> str:
    """The option parser's message, and where to read more."""
    context: Any = getattr(error, "ctx", None)
    message = str(getattr(error, "format_message", error.__str__)())
    if context is None:
        return message
    if context.command_path == PROGRAM and message == "Missing command.":
        return f"which command?\n\n{context.get_help()}"
    return f"{message} Try '{context.command_path} --help'."
