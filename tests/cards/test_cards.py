"""Model cards: they state the laws' priors, survive a round trip, and their errors are clear."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import numpyro.distributions as dist
import pytest

from bayesmix.cards.distributions import FAMILIES, Belief, belief_from, belief_of
from bayesmix.cards.read import (
    laws,
    load_card,
    load_model,
    model_from_card,
    model_names,
    noises,
    read_card,
)
from bayesmix.cards.write import card_text
from bayesmix.errors import DataWarning, InputError
from bayesmix.laws.additive import Additive
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.laws.joint import Joint
from bayesmix.laws.repeated import Repeated
from bayesmix.model.discrepancy import Discrepancy
from bayesmix.model.model import Model
from bayesmix.model.noise import Gaussian, StudentT
from bayesmix.model.priors import Prior, interval

MODELS = Path(__file__).resolve().parents[2] / "models"


def test_the_package_has_the_cards_of_its_main_laws() -> None:
    assert {"additive", "joint", "chinchilla"} <= set(model_names())


@pytest.mark.parametrize("name", model_names())
def test_a_card_states_the_defaults_of_its_law(name: str) -> None:
    card = load_card(name)
    stated = tomllib.loads((MODELS / name / "model.toml").read_text(encoding="utf-8"))["prior"]
    assert list(stated) == list(card.model.priors(7)), (
        "a card lists every site, in the order of the law"
    )
    if name == card.model.law.name:
        assert not card.model.prior, "the card of a law has the law's own priors"
        assert card.model.law == type(card.model.law)(), "and its default options"


@pytest.mark.parametrize("name", model_names())
def test_every_prior_of_a_card_is_said_as_interval_and_in_words(name: str) -> None:
    card = load_card(name)  # loading compares interval and distribution
    assert card.title and card.description
    for site, entry in card.prior.items():
        assert entry.interval is not None, site
        assert entry.says.endswith("."), site
    assert all(len(line) <= 80 for line in str(card).splitlines())


def test_the_interval_of_a_card_is_that_of_the_distribution_sampled() -> None:
    card = load_card("joint")
    priors = card.model.priors(7)
    for site, entry in card.prior.items():
        assert entry.interval is not None
        np.testing.assert_allclose(
            interval(priors[site], 0.9), entry.interval, rtol=0.08, atol=0.05
        )


@pytest.mark.parametrize(
    "law", [*(law() for law in laws().values()), Repeated(Additive(), {"web": 2e9})], ids=str
)
def test_every_law_survives_the_round_trip(law) -> None:
    model = model_from_card(card_text(Model(law, noise=Gaussian(), discrepancy=None), 5))
    assert (model.law, model.noise, dict(model.prior)) == (law, Gaussian(), {})


def test_overrides_survive_the_round_trip() -> None:
    prior = {
        "alpha": dist.Gamma(3.0, 10.0),
        "E": dist.Uniform(0.1, 0.9),
        "gamma": dist.LogNormal(np.log([0.2, 0.4, 0.6]), 0.3).to_event(1),
        "share": dist.Dirichlet(np.array([4.0, 1.0, 2.0, 1.0])),
        "share_A": dist.Dirichlet(np.array([2.0, 1.0, 1.0])),
        "nu": dist.TransformedDistribution(
            dist.Exponential(0.5), dist.transforms.AffineTransform(1.0, 1.0)
        ),
    }
    model = Model(Joint(), prior=Prior(prior), noise=StudentT(), discrepancy=None, name="mine")
    back = model_from_card(card_text(model, 3))
    assert back.name == "mine"
    assert set(back.prior) == set(prior)
    for site, belief in model.priors(3).items():
        assert belief_of(back.priors(3)[site], site).same(belief_of(belief, site)), site
        assert back.priors(3)[site].event_shape == belief.event_shape, site


def test_options_of_a_law_survive_the_round_trip() -> None:
    assert model_from_card(card_text(Model(Additive(constant=False)), 4)).law == Additive(
        constant=False
    )


def test_a_prior_without_words_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot be written in a card.*Cauchy"):
        card_text(Model(Chinchilla(), prior=Prior({"alpha": dist.Cauchy(0.0, 1.0)})), 2)


@pytest.mark.parametrize("name", FAMILIES)
def test_families_agree_with_numpyro(name: str) -> None:
    values = dict.fromkeys(FAMILIES[name].arguments, 1.5) | {"low": 0.5, "high": 2.5, "df": 5.0}
    table = {k: v for k, v in values.items() if k in FAMILIES[name].arguments}
    belief = belief_from({"distribution": name, **table}, "it")
    built = belief.build(4 if belief.joint else None)
    assert belief_of(built, "it").same(belief)
    np.testing.assert_allclose(interval(built, 0.9), belief.interval(4), rtol=0.1, atol=0.03)


def test_a_card_of_ones_own(tmp_path: Path) -> None:
    text = """
title = "steeper"
law = "additive"
law_options = { constant = false }
noise = "gaussian"
domains = ["web", "code"]
targets = ["wiki"]
sampler = { draws = 500, target_accept = 0.99 }

[prior.alpha]
distribution = "LogNormal"
median = 0.5
sd_log = 0.2
interval = [0.36, 0.69]
says = "Published exponents of such models."

[prior.share]
distribution = "Dirichlet"
concentration = [1.0, 3.0]
"""
    path = tmp_path / "steep.toml"
    path.write_text(text, encoding="utf-8")
    card = load_card(path)
    assert (card.name, card.domains, card.targets) == ("steep", ("web", "code"), ("wiki",))
    assert card.sampler == {"draws": 500, "target_accept": 0.99}
    assert card.model.law == Additive(constant=False) and card.model.noise == Gaussian()
    assert set(card.model.prior) == {"alpha", "share"}
    assert load_model(str(path)).name == "steep"


def test_a_folder_is_a_card(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.toml").write_text('law = "chinchilla"', encoding="utf-8")
    assert load_model(tmp_path / "mine").name == "mine"


def test_the_table_of_noises_is_complete() -> None:
    assert set(noises()) == {"grouped", "student-t", "gaussian"}


ALPHA = '[prior.alpha]\ndistribution = "LogNormal"\nmedian = 0.3\nsd_log = 0.5\n'


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('law = "aditive"', "Did you mean additive"),
        ("", "the law of the card mine is unknown"),
        ('law = "joint"\nnoise = "student"', "Did you mean student-t"),
        ('law = "joint"\npriors = {}', "unknown key 'priors'.*Did you mean prior"),
        ('law = "joint"\nlaw_options = { constnt = true }', "Did you mean constant"),
        (
            'law = "joint"\nlaw_options = { constant = 1 }',
            "constant of the card mine is not an option",
        ),
        ('law = "joint"\n[prior.alhpa]\ndistribution = "Normal"', "Did you mean alpha"),
        (
            'law = "joint"\n[prior.alpha]\ndistribution = "Lognormal"\nmedian = 1',
            "Did you mean LogNormal",
        ),
        (
            'law = "joint"\n[prior.alpha]\ndistribution = "LogNormal"\nmedian = 0.3\nsd = 0.5',
            "median, sd_log",
        ),
        (
            'law = "joint"\n[prior.alpha]\ndistribution = "LogNormal"\nmedian = -1\nsd_log = 0.5',
            "above 0",
        ),
        ('law = "joint"\n[prior.E]\ndistribution = "Uniform"\nlow = 1\nhigh = 0.5', "is empty"),
        (f'law = "joint"\n{ALPHA}interval = [0.2, 0.7]', r"\[0.13, 0.68\]"),
        (f'law = "joint"\n{ALPHA}interval = "0.1 to 0.7"', r"\[0.13, 0.68\]"),
        (
            'law = "joint"\n[prior.alpha]\ndistribution = "Normal"\nmean = [1, 2]\nsd = 1',
            "lists of the wrong length",
        ),
        (
            'law = "joint"\n[prior.share]\ndistribution = "Dirichlet"\nconcentration = 3',
            "how many domains",
        ),
        ('law = "joint"\n[sampler]\nchain = 4', "Did you mean chains"),
        ('law = "joint"\n[sampler]\nchains = 4.5', "a whole number"),
        ('law = "joint"\ndomains = "web"', "a list of texts"),
        ('law = "joint"\nprior = 3', "prior of the card mine is no table"),
        ('law = "joint"\n[stock]\nweb = -1', "no stock"),
        ('law = "joint', "is not TOML"),
    ],
)
def test_mistakes_in_a_card_get_one_sentence(text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_card(text, name="mine")


def test_a_card_that_is_not_there_is_near_one_that_is() -> None:
    with pytest.raises(InputError, match="Did you mean joint"):
        load_model("jont")
    with pytest.raises(InputError, match="bayesmix models"):
        load_model("nothing/like/it.toml")


def test_a_binary_file_is_no_card(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot read the card"):
        load_model(path)


def test_beliefs_print_as_a_statistician_writes_them() -> None:
    assert (
        str(Belief("LogNormal", {"median": 5.0, "sd_log": 1.0}, 2.0))
        == "LogNormal(median=5, sd_log=1) + 2"
    )


def test_priors_of_sites_that_are_gone_are_left_out_with_a_warning() -> None:
    old = 'law = "chinchilla"\n[prior.run_share]\ndistribution = "Beta"\na = 1.5\nb = 1.5\n'
    with pytest.warns(DataWarning, match="run_effect"):
        model = read_card(old, name="old").model
    assert not model.prior and "run_effect" in model.priors(2)
    with pytest.raises(InputError, match="In its place is run_effect"):
        Model(Chinchilla(), prior=Prior({"run_share": dist.Beta(1.5, 1.5)})).priors(0)


def test_options_of_the_discrepancy_are_kept() -> None:
    model = Model(Additive(), discrepancy=Discrepancy(orthogonal=False))
    assert model_from_card(card_text(model, 3)).discrepancy == Discrepancy(orthogonal=False)
    assert "discrepancy_options" not in card_text(Model(Additive()), 3)
    with pytest.raises(InputError, match="not an option of the discrepancy"):
        read_card('law = "joint"\ndiscrepancy_options = { orthogonal = 1 }', name="mine")
    with pytest.raises(InputError, match="a discrepancy that it does not have"):
        read_card(
            'law = "joint"\nnoise = "gaussian"\ndiscrepancy_options = { orthogonal = false }',
            name="mine",
        )
