"""Model cards: a whole model in words and numbers a reviewer can check, as a TOML file.

A card names the law, the noise and the discrepancy, and gives every prior as a distribution, in a
statistician's arguments, and as the central 90 % interval that it encodes; the two must agree.
"""

from __future__ import annotations

import inspect
import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpyro.distributions as dist

import bayesmix.laws
import bayesmix.model.noise
from bayesmix.cards.card import NONE, Card, Entry
from bayesmix.cards.distributions import Belief, belief_from, belief_of
from bayesmix.errors import DataWarning, InputError, warn
from bayesmix.laws.base import Law
from bayesmix.laws.repeated import Repeated
from bayesmix.model.discrepancy import Discrepancy
from bayesmix.model.model import POOLING, RETIRED, Model
from bayesmix.model.noise import Grouped, Noise
from bayesmix.model.priors import Prior
from bayesmix.validate import closest, known_keys, one_of, string, strings, subtable

ABOUT = ("name", "title", "description")
KEYS = (
    *ABOUT,
    "law",
    "law_options",
    "stock",
    "noise",
    "discrepancy",
    "discrepancy_options",
    "pooling",
    "domains",
    "targets",
    "prior",
    "sampler",
)
SAMPLER: Mapping[str, type] = {"chains": int, "warmup": int, "draws": int, "target_accept": float}
WORDS = ("interval", "entries", "unit", "says")
PROBE = 3  # number of domains by which the shape of priors is found when a card gives none


def model_names() -> tuple[str, ...]:
    """Names of the model cards that come with the package, for `load_model`."""
    folder = _shelf()
    return tuple(sorted(path.parent.name for path in folder.glob("*/model.toml")))


def load_model(card: str | os.PathLike[str]) -> Model:
    """Load the model of a card.

    Args:
        card: name of a card that comes with the package, or the path of a card or of its folder.

    Raises:
        InputError: there is no such card, or something in it is wrong.
    """
    return load_card(card).model


def load_card(card: str | os.PathLike[str]) -> Card:
    """Load a model card with its words; arguments and errors as in `load_model`."""
    path = _find(card)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read the card {path}",
            expected="a TOML file",
            got=str(error),
            advice="Check the file.",
        ) from error
    return read_card(text, name=path.parent.name if path.name == "model.toml" else path.stem)


def model_from_card(text: str) -> Model:
    """The model that the TOML text of a card declares; the inverse of `card_text`.

    Raises:
        InputError: something in the card is wrong.
    """
    return read_card(text, name="").model


def read_card(text: str, name: str) -> Card:
    """The card that a TOML text declares; `name` is its name where the text gives none."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"the card {name} is not TOML".replace("  ", " "),
            expected="a TOML file",
            got=str(error),
            advice="Mend it.",
        ) from error
    name = str(table.get("name", name))
    label = f"the card {name}" if name else "the card"
    known_keys(table, KEYS, label)
    law, noise = _law(table, label), _noise(table, label)
    domains = table.get("domains", ())
    entries = (
        domains
        if isinstance(domains, int)
        else len(strings(domains, f"domains of {label}")) or None
    )
    pooling = one_of(table.get("pooling", POOLING[0]), POOLING, f"the pooling of {label}")
    bare = Model(
        law, noise=noise, discrepancy=_discrepancy(table, noise, label), name=name, pooling=pooling
    )
    model, prior = _with_priors(bare, subtable(table, "prior", label), entries, label)
    return Card(
        name=name,
        title=string(table, "title", label),
        description=string(table, "description", label),
        model=model,
        domains=() if isinstance(domains, int) else strings(domains, f"domains of {label}"),
        targets=strings(table.get("targets", ()), f"targets of {label}"),
        sampler=_sampler(subtable(table, "sampler", label), label),
        prior=prior,
    )


def _find(card: str | os.PathLike[str]) -> Path:
    """The file of a card; a bare name means a card of the package before a file of that name."""
    shelf, path = _shelf(), Path(card)
    if str(card) in model_names():
        return shelf / str(card) / "model.toml"
    path = path / "model.toml" if path.is_dir() else path
    if path.is_file():
        return path
    similar = closest(str(card), model_names())
    raise InputError(
        f"there is no model card {card}",
        expected=f"one of {', '.join(model_names())}, or the path of a card",
        got="no such card or file",
        advice=f"Did you mean {similar}?"
        if similar
        else "`bayesmix models` lists the cards of the package.",
    )


def _shelf() -> Path:
    """Folder of the package's cards.

    It lies inside the package once installed, and beside it in a checkout.
    """
    package = Path(__file__).parents[1]
    installed = package / "_models"
    return installed if installed.is_dir() else package.parent / "models"


def laws() -> dict[str, type[Law]]:
    """Every law of the package by name.

    Laws that change another law and have no name of their own are left out.
    """
    return {law.name: law for law in _concrete(bayesmix.laws, Law) if "name" in vars(law)}


def noises() -> dict[str, type[Noise]]:
    """Every noise of the package by name."""
    return {noise.name: noise for noise in _concrete(bayesmix.model.noise, Noise)}


def _concrete[T](module: ModuleType, base: type[T]) -> list[type[T]]:
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, base)
    ]
    return [value for value in classes if not inspect.isabstract(value)]


def _law(table: Mapping[str, Any], label: str) -> Law:
    classes = laws()
    law = classes[one_of(table.get("law"), classes, f"the law of {label}")]
    options = _options(law, table, "law_options", label)
    stock = subtable(table, "stock", label)
    if not all(isinstance(tokens, int | float) and tokens > 0 for tokens in stock.values()):
        raise InputError(
            f"[stock] of {label} is no stock", expected="domain = tokens above 0", got=dict(stock)
        )
    return Repeated(law(**options), stock) if stock else law(**options)


def _options(kind: Any, table: Mapping[str, Any], key: str, label: str) -> Mapping[str, Any]:
    """The fields of a frozen dataclass that the card sets."""
    options = subtable(table, key, label)
    fields_by_name = {f.name: f for f in fields(kind)}
    known_keys(options, fields_by_name, f"[{key}] of {label}")
    for name, value in options.items():
        default = fields_by_name[name].default
        if default is not MISSING and type(value) is not type(default):
            raise InputError(
                f"{name} of {label} is not an option of the {key.removesuffix('_options')}",
                expected=f"a value such as {str(default).lower()}",
                got=repr(value),
            )
    return options


def _noise(table: Mapping[str, Any], label: str) -> Noise:
    classes = noises()
    return classes[one_of(table.get("noise", Grouped.name), classes, f"the noise of {label}")]()


def _discrepancy(table: Mapping[str, Any], noise: Noise, label: str) -> Discrepancy | None:
    usual = Discrepancy.name if isinstance(noise, Grouped) else NONE
    name = one_of(
        table.get("discrepancy", usual), (Discrepancy.name, NONE), f"the discrepancy of {label}"
    )
    options = _options(Discrepancy, table, "discrepancy_options", label)
    if name == NONE and options:
        raise InputError(
            f"{label} has options of a discrepancy that it does not have",
            expected=f'discrepancy = "{Discrepancy.name}" beside [discrepancy_options]',
            got=f"{NONE} with {noise.name} noise",
            advice="Remove [discrepancy_options], or name the discrepancy.",
        )
    return Discrepancy(**options) if name == Discrepancy.name else None


def _with_priors(
    model: Model, tables: Mapping[str, Any], entries: int | None, label: str
) -> tuple[Model, dict[str, Entry]]:
    """The model with the card's priors, and the card's entries by site.

    Only the priors that differ from the defaults are set.
    """
    defaults = model.priors(entries or PROBE)
    for site in [site for site in tables if site in RETIRED]:
        message = f"[prior.{site}] of {label} is left out: in its place is {RETIRED[site]}"
        warn(message, DataWarning)
        tables = {name: table for name, table in tables.items() if name != site}
    known_keys(tables, defaults, f"[prior] of {label}")
    overrides: dict[str, dist.Distribution] = {}
    prior: dict[str, Entry] = {}
    for site, default in defaults.items():
        place = f"the prior of {site} in {label}"
        usual = belief_of(default, place)
        table = dict(subtable(tables, site, f"the priors of {label}"))
        prior[site] = _entry(
            table, usual, default.event_shape[0] if entries and default.event_shape else None, place
        )
        belief = prior[site].belief
        if not belief.same(usual):
            overrides[site] = _build(belief, default.event_shape, entries, place)
    return replace(model, prior=Prior(overrides)), prior


def _build(
    belief: Belief, shape: tuple[int, ...], entries: int | None, place: str
) -> dist.Distribution:
    lengths = {len(value) for value in belief.arguments.values() if isinstance(value, list)}
    if belief.joint and not lengths and not entries:
        raise InputError(
            f"{place} needs to know how many domains there are",
            expected="domains = [...] in the card, or a list of numbers",
            got="neither",
            advice="Name the domains in the card.",
        )
    if lengths and (not shape or len(lengths) > 1 or (entries and lengths != {shape[0]})):
        raise InputError(
            f"{place} has lists of the wrong length",
            expected=f"{shape[0]} numbers"
            if shape and entries
            else "one number"
            if not shape
            else "one number a domain",
            got=f"{sorted(lengths)} numbers",
            advice="Give one number for all, or a list with one for each.",
        )
    return belief.build(lengths.pop() if lengths else shape[0] if shape else None)


def _entry(table: dict[str, Any], usual: Belief, entries: int | None, place: str) -> Entry:
    words = {key: table.pop(key) for key in WORDS if key in table}
    belief = belief_from(table, place) if table else usual
    span, entries = words.get("interval"), words.get("entries", entries)
    if span is not None:
        _require_interval(span, belief, entries, place)
    interval = (float(span[0]), float(span[1])) if span else None
    return Entry(belief, interval, string(words, "unit", place), string(words, "says", place))


def _require_interval(span: Any, belief: Belief, entries: Any, place: str) -> None:
    """Refuse an interval that the distribution does not encode: one of the two is a mistake."""
    pair = (
        isinstance(span, list) and len(span) == 2 and all(isinstance(v, int | float) for v in span)
    )
    if not belief.scalar or (belief.joint and not isinstance(entries, int)):
        raise InputError(
            f"{place} has no single interval",
            expected="one distribution for all entries"
            if not belief.scalar
            else "entries = the number of entries",
            got="lists" if not belief.scalar else "neither entries nor domains",
            advice="Leave the interval out."
            if not belief.scalar
            else "Add it, or leave the interval out.",
        )
    true = belief.interval(entries)
    if not pair or not all(map(_agrees, span, true)):
        raise InputError(
            f"{place} says an interval that its distribution does not have",
            expected="[{:.2g}, {:.2g}], which holds 90 % of {}".format(*true, belief),
            got=span,
            advice="Correct the interval, or the distribution.",
        )


def _agrees(value: float, true: float) -> bool:
    """Whether two numbers are equal to two significant digits, or within 3 %."""
    return float(f"{value:.2g}") == float(f"{true:.2g}") or abs(value - true) <= 0.03 * abs(true)


def _sampler(settings: Mapping[str, Any], label: str) -> dict[str, int | float]:
    known_keys(settings, SAMPLER, f"[sampler] of {label}")
    wrong = [
        k
        for k, v in settings.items()
        if isinstance(v, bool) or not isinstance(v, (SAMPLER[k], int))
    ]
    if wrong:
        raise InputError(
            f"{wrong[0]} in sampler of {label} is no setting",
            expected="a whole number" if SAMPLER[wrong[0]] is int else "a number",
            got=repr(settings[wrong[0]]),
        )
    return dict(settings)
