"""Arguments and options that several commands share, and parsers of their texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayesmix.errors import InputError

if TYPE_CHECKING:
    from bayesmix.design import Scale

Table = Annotated[
    list[str],
    typer.Argument(
        metavar="RUNS",
        help=(
            "CSV or Parquet table, the name of a set in the package, or for --preset olmix a folder"
            " or two files."
        ),
    ),
]
PosteriorFile = Annotated[
    str, typer.Argument(metavar="POSTERIOR", help="What `bayesmix fit` or `compare` wrote.")
]
ModelCard = Annotated[
    str, typer.Option("--model", metavar="CARD", help="Name or path of a model card.")
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Layout of the table: wide (default), olmix, regmix or columns."
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(metavar="QUERY", help="Keep rows that satisfy a pandas query; repeatable."),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(metavar="A,B", help="Targets to keep, separated by commas; repeatable."),
]
AllParams = Annotated[
    str | None,
    typer.Option(
        "--params", metavar="N", help="Parameters of every run, if the table has no column."
    ),
]
AllTokens = Annotated[
    str | None,
    typer.Option("--tokens", metavar="D", help="Tokens of every run, if the table has no column."),
]
Rename = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OLD=NEW", help="Rename a domain or target, or merge domains; repeatable."
    ),
]
Normalize = Annotated[
    bool, typer.Option("--normalize", help="Divide each row of weights by its sum.")
]
Params = Annotated[
    str,
    typer.Option("--params", metavar="N", help="Parameters of the run to decide on, as 7e9 or 7B."),
]
Tokens = Annotated[
    str,
    typer.Option(
        "--tokens", metavar="D", help="Tokens of the run to decide on, as 1.5e11 or 150B."
    ),
]
Criterion = Annotated[
    str,
    typer.Option(
        metavar="CRITERION",
        help=(
            "RISK of the weighted loss: mean, quantile:P, cvar:P, entropic:A, deviation:A or"
            " worst-draw; or worst-target, max-regret (over targets), regret (in each draw), each"
            " with /RISK if not the mean; or minimax-regret."
        ),
    ),
]
TargetWeights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TARGET=W,…", help="Weights of the targets; equal over all when not given."
    ),
]
OnlyTargets = Annotated[
    list[str] | None,
    typer.Option(metavar="A,B", help="Only these targets count, equally; repeatable."),
]
Bounds = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DOMAIN=LO:HI",
        help="Lowest and highest share, or one number that fixes it; repeatable.",
    ),
]
Stock = Annotated[
    list[str] | None,
    typer.Option(metavar="DOMAIN=TOKENS", help="Tokens there are of a domain, as 60B; repeatable."),
]
Epochs = Annotated[
    float | None,
    typer.Option(metavar="X", help="How often a token of a stock may be seen.", show_default="1"),
]
TrustRegion = Annotated[
    str | None,
    typer.Option(
        "--near",
        metavar="NAME=KL",
        help="Stay within so many nats of a named mixture; NAME=tv:X for total variation.",
    ),
]
Support = Annotated[
    bool, typer.Option("--support", help="Stay in the convex hull of the mixtures of the runs.")
]
Constraints = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help=(
            "TOML: bounds, groups, linear, stock, epochs, fixed, trust_region, support, promises"
            " (docs/decisions-guide.md)."
        ),
    ),
]
Promise = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=MARGIN:P",
        help=(
            "No target may be worse than under a named mixture by more than MARGIN (1%), with"
            " probability P; repeatable."
        ),
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        metavar="NAME=FILE",
        help="Name a mixture in a JSON or CSV file and compare with it; repeatable.",
    ),
]
Natural = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="The corpus' own proportions, named natural; JSON or CSV."),
]
RunNoise = Annotated[
    bool, typer.Option("--run-noise", help="Count the scatter of runs as a risk too.")
]
Epsilon = Annotated[
    float | None,
    typer.Option(
        metavar="NATS", help="Regret that counts as nothing.", show_default="0.001 or more"
    ),
]
MaxDraws = Annotated[
    int | None, typer.Option(metavar="INT", min=1, help="Use at most so many draws.")
]
OutJson = Annotated[str | None, typer.Option(metavar="FILE", help="Write the answer as JSON.")]
Processes = Annotated[
    int,
    typer.Option(
        metavar="INT",
        min=1,
        help="How many fits at once, each in a process; the answer is the same.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="INT", min=0, help="Same seed, same answer.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def examples(*lines: str) -> str:
    """Examples at the end of a command's help.

    A line that begins with a space continues the one before it.
    """
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


SUFFIXES = {"k": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}


def table_arguments(
    preset: str | None,
    where: list[str] | None,
    params: str | None,
    tokens: str | None,
    rename: list[str] | None,
) -> dict[str, Any]:
    """Arguments of `read_table`, except the targets, from the options of a table."""
    return {
        "preset": preset,
        "where": where or None,
        "params": None if params is None else size(params, "--params"),
        "tokens": None if tokens is None else size(tokens, "--tokens"),
        "rename": pairs(rename or [], "--rename", example="wikipedia=wiki"),
    }


def source(runs: list[str]) -> str | tuple[str, ...]:
    """One table, or a tuple of several."""
    return runs[0] if len(runs) == 1 else tuple(runs)


def names(texts: Iterable[str] | None) -> list[str] | None:
    """Names from texts: ``["a,b", "c"]`` → ``["a", "b", "c"]``; None when nothing is given."""
    items = [name.strip() for text in texts or () for name in text.split(",") if name.strip()]
    return items or None


def pairs(texts: Iterable[str], option: str, *, example: str) -> dict[str, str]:
    """Pairs from texts: ``["a=x", "b=y"]`` → ``{"a": "x", "b": "y"}``.

    Raises:
        InputError: a text has no ``=``, or a name stands twice.
    """
    mapping: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and name and value) or name in mapping:
            raise InputError(
                f"{option} {text!r} is not understood",
                expected=f"NAME=VALUE, each name once, as in {option} {example}",
                got=repr(text),
            )
        mapping[name] = value
    return mapping


def weights(texts: Iterable[str], targets: list[str] | None) -> dict[str, float] | None:
    """Weights of the targets from ``["a=0.5,b=0.5"]``, as target → weight.

    The weights are equal on `targets` where only those are given.

    Raises:
        InputError: a weight is not a number, or a weight is given to a target that `targets` leaves
            out.
    """
    entries = pairs(
        [part for text in texts for part in text.split(",") if part.strip()],
        "--weights",
        example="wiki=0.5",
    )
    if not entries:
        return dict.fromkeys(targets, 1.0) if targets else None
    left_out = [target for target in entries if targets and target not in targets]
    if left_out:
        raise InputError(
            "--weights and --targets disagree",
            expected=f"weights for targets among {targets}",
            got=left_out,
            advice="Give one of the two options.",
        )
    return {target: number(text, f"--weights {target}") for target, text in entries.items()}


def size(text: str, option: str) -> float:
    """Number of parameters or tokens from a text: ``7e9``, ``7B``, ``190M``.

    Raises:
        InputError: it is not a finite number above 0.
    """
    factor = SUFFIXES.get(text.strip()[-1:], 1.0)
    value = factor * number(text.strip()[:-1] if factor > 1 else text, option)
    if not 0 < value < float("inf"):
        raise InputError(f"{option} is not a size", expected="a finite number above 0", got=text)
    return value


def number(text: str, option: str) -> float:
    """Number from a text.

    Raises:
        InputError: the text is not a number.
    """
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"{option} is not a number", expected="a number such as 7e9 or 0.5", got=repr(text)
        ) from None


def scale(text: str) -> Scale:
    """Size of a run from a text: ``190M:4B`` is 190M parameters on 4B tokens.

    Raises:
        InputError: the text is not a size.
    """
    from bayesmix.design import Scale

    params, colon, tokens = text.partition(":")
    if not colon:
        raise InputError(
            f"--scale {text!r} is not understood",
            expected="params:tokens, as in --scale 190M:4B",
            got=repr(text),
        )
    return Scale(size(params, "--scale"), size(tokens, "--scale"))
