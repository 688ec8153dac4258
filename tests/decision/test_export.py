"""Weights as loaders take them."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmix.decision.export import FORMATS, as_megatron, hand_over, quantise, rounding_loss
from bayesmix.design import Mixture, Scale
from bayesmix.errors import InputError
from tests.decision.stub import posterior

MIXTURE = Mixture({"web": 0.625, "code: py": 0.375, "none": 0.0})


@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12).filter(lambda w: sum(w) > 0.01),
    st.integers(1, 50_000),
)
def test_rounding_keeps_the_sum_and_moves_no_share_by_more_than_a_unit(weights, units):
    mixture = Mixture.of([f"d{i}" for i in range(len(weights))], np.array(weights) / sum(weights))
    rounded = quantise(mixture, units)
    counts = rounded.weights * units
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-6)
    assert rounded.weights.sum() == pytest.approx(1)
    assert np.abs(rounded.weights - mixture.weights).max() < 1 / units + 1e-9
    assert quantise(rounded, units).weights == pytest.approx(rounded.weights)


def test_largest_remainder_by_hand():
    assert quantise(Mixture({"a": 0.47, "b": 0.33, "c": 0.2}), 10).as_dict() == {
        "a": 0.5,
        "b": 0.3,
        "c": 0.2,
    }


@pytest.mark.parametrize("units", [0, -3, 2.5])
def test_a_lattice_needs_points(units):
    with pytest.raises(InputError):
        quantise(MIXTURE, units)


def test_rounding_costs_less_on_a_finer_lattice():
    stub = posterior(draws=20, targets=2, domains=4)
    scale = Scale(1e9, 1e11)
    coarse, fine = (
        rounding_loss(stub, scale, stub.natural, quantise(stub.natural, u)) for u in (8, 49152)
    )
    assert abs(fine.mean) < 1e-5 < abs(coarse.mean)


def test_json_and_hugging_face_are_read_back():
    assert json.loads(hand_over(MIXTURE, "json")) == MIXTURE.as_dict()
    table = json.loads(hand_over(MIXTURE, "hugging-face"))
    assert dict(zip(table["datasets"], table["probabilities"], strict=True)) == MIXTURE.as_dict()


def test_yaml_has_a_line_a_domain():
    assert hand_over(MIXTURE, "yaml") == '"web": 0.625\n"code: py": 0.375\n"none": 0.0\n'


def test_olmix_ratios_are_one_run():
    (row,) = csv.DictReader(io.StringIO(hand_over(MIXTURE, "olmix")))
    assert list(row) == ["run", "name", "index", *MIXTURE.domains]
    assert [float(row[d]) for d in MIXTURE.domains] == MIXTURE.weights.tolist()


def test_the_megatron_blend_names_files_and_drops_zeros():
    assert (
        as_megatron(MIXTURE, {"web": "/data/web_text_document"})
        == "0.625 /data/web_text_document 0.375 code: py\n"
    )
    pairs = hand_over(Mixture({"a": 0.1, "b": 0.9}), "megatron").split()
    assert pairs == ["0.1", "a", "0.9", "b"]


def test_an_unknown_format_is_refused():
    with pytest.raises(InputError, match="json, yaml, olmix"):
        hand_over(MIXTURE, "toml")
    assert set(FORMATS) == {"json", "yaml", "olmix", "megatron", "hugging-face"}
