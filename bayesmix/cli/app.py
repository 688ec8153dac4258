"""The `bayesmix` program: its commands, and the exit codes and messages of their errors."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import Annotated, Any

import typer

from bayesmix.cli import options
from bayesmix.cli.campaign import app as campaign
from bayesmix.cli.check import check
from bayesmix.cli.compare import backtest, compare
from bayesmix.cli.demo import demo
from bayesmix.cli.fit import fit
from bayesmix.cli.inspection import lint, models, prior_check
from bayesmix.cli.optimize import optimize
from bayesmix.cli.output import hint, plain_warnings
from bayesmix.cli.path import path
from bayesmix.cli.pocket import app as pocket
from bayesmix.cli.predict import predict
from bayesmix.cli.replay import replay
from bayesmix.cli.report import report
from bayesmix.errors import BayesmixError
from bayesmix.runtime.progress import bars

INTERRUPTED = 130
OURS = "This is a fault of bayesmix, not of your input."

app = typer.Typer(
    name="bayesmix",
    help=(
        "Bayesian scaling laws for data mixtures: loss bands, risk-aware mixtures, and which run to"
        " do next."
    ),
    epilog=(
        "Exit codes: 0 done; 1 internal failure; 2 bad usage or input; 3 the diagnostics fail (the"
        " output is written, and says so); 4 infeasible constraints; 5 no run is worth its cost;"
        " 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in half the time
)


class Debug:
    """Flag that shows tracebacks; set by the option `--debug` of the program."""

    active = False


def _version(value: bool) -> None:
    if value:
        import importlib.metadata

        print(f"bayesmix {importlib.metadata.version('bayesmix')}")
        raise typer.Exit


@app.callback()
def program(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a failure.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the program itself."""
    Debug.active = debug


def _command(function: Callable[..., Any], *examples: str, name: str | None = None) -> None:
    app.command(
        name, epilog=options.examples(*examples), no_args_is_help=function not in (demo, models)
    )(function)


_command(
    fit,
    "bayesmix fit runs.csv --model joint --out posterior.nc",
    'bayesmix fit runs.csv --where "params < 1e9" --targets wiki,code',
    "bayesmix fit ratios.csv metrics.csv --preset olmix --params 30M --tokens 3B",
)
_command(
    predict,
    "bayesmix predict posterior.nc --designs designs.csv --out predictions.csv",
    "bayesmix predict posterior.nc --designs designs.csv | column -s, -t",
)
_command(
    optimize,
    "bayesmix optimize posterior.nc --params 7e9 --tokens 150e9 --risk cvar:0.9",
    "bayesmix optimize posterior.nc --params 7B --tokens 150B \\",
    "    --bounds web=0.2:0.6 --weights wiki=0.7,code=0.3 --out optimum.json",
    "bayesmix optimize posterior.nc --params 7B --tokens 150B \\",
    "    --natural natural.json --near natural=0.2 --promise natural=1%:0.95",
)
_command(
    path,
    "bayesmix path posterior.nc --params 1B --tokens 20B --to 100 --along flops",
    "bayesmix path posterior.nc --flops 1e21 --params 100M:10B",
    "bayesmix path posterior.nc --params 1B --tokens 20B --pareto wiki,code",
    "bayesmix path posterior.nc --params 1B --tokens 20B \\",
    "    --crossover uniform,ours --against ours=mixture.json",
)
_command(
    report,
    "bayesmix report posterior.nc --params 7B --tokens 150B --out report.html",
    "bayesmix report posterior.nc --params 7B --tokens 150B \\",
    "    --natural natural.json --scale 190M:4B --scale 190M:16B",
)
_command(
    check, "bayesmix check posterior.nc", "bayesmix check posterior.nc --params 7B --tokens 140B"
)
_command(
    compare,
    "bayesmix compare runs.csv --models additive,joint --by mixture",
    "bayesmix compare runs.csv --models additive,joint --loo --out stacked.nc",
)
_command(
    backtest,
    "bayesmix backtest runs.csv --model joint --by size --plot backtest.png",
    "bayesmix backtest runs.csv --model additive --by mixture --folds 4 --json",
)
_command(demo, "bayesmix demo", "bayesmix demo --quick --out somewhere")
_command(
    lint,
    "bayesmix lint runs.csv",
    "bayesmix lint table.csv --preset regmix --params 1M --tokens 1B --json",
)
_command(
    prior_check,
    "bayesmix prior-check joint runs.csv",
    "bayesmix prior-check my-model.toml runs.csv --targets wiki",
    name="prior-check",
)
_command(models, "bayesmix models", "bayesmix models joint")
_command(
    replay,
    "bayesmix replay runs.csv --judge 'params == 1.2e9' --strategy regret,random",
)
app.add_typer(campaign, name="campaign")
app.add_typer(pocket)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: arguments after the word `bayesmix`; those of the process when not given.
    """
    Debug.active = False
    with plain_warnings(), bars(), interrupts_heard():
        try:
            app(None if arguments is None else list(arguments), prog_name="bayesmix")
        except SystemExit as stop:  # typer has printed its message, except for Ctrl-C
            code = stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
            return _failed("interrupted", code) if code == INTERRUPTED else code
        except BayesmixError as error:
            return _failed(f"error: {error}", error.exit_code)
        except KeyboardInterrupt:
            return _failed("interrupted", INTERRUPTED)
        except (
            Exception
        ) as error:  # any other failure is reported as a sentence, not as a traceback
            return _failed(f"internal failure: {_sentence(error)}", 1)
    return 0


@contextmanager
def interrupts_heard() -> Iterator[None]:
    """Honour Ctrl-C also while Python runs code that swallows exceptions.

    Finalizers and JAX's collector do so; the interrupt is then sent again.
    """
    previous = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is KeyboardInterrupt:
            Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()  # after that code has ended
        else:
            previous(lost)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = previous


def _failed(message: str, code: int) -> int:
    if Debug.active:
        traceback.print_exc()
    hint(message)
    return code


def _sentence(error: Exception) -> str:
    words = str(error).strip().splitlines()
    summary = f"{type(error).__name__}: {words[0]}" if words else type(error).__name__
    return f"{summary.rstrip('.')}. {OURS} `bayesmix --debug {_called()}…` shows where."


def _called() -> str:
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return f"{command} " if command else ""
