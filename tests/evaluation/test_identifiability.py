"""Advice of `check` on the designs is what `lint` finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bayesmix.evaluation.identifiability import _design_advice
from bayesmix.laws.additive import Additive
from bayesmix.laws.chinchilla import Chinchilla
from bayesmix.runs.lint import lint
from bayesmix.runs.runs import Runs
from tests.posteriors import grid


def test_advice_on_designs_is_what_lint_finds() -> None:
    designs = grid(4)
    runs = Runs(
        replace(designs, tokens=np.full(len(designs), 2e9)),
        ("chat",),
        np.linspace(2, 3, len(designs))[:, None],
    )
    few_tokens, few_mixtures = (lint(runs).of(code) for code in ("few-tokens", "few-mixtures"))
    assert few_tokens is not None and few_mixtures is not None
    assert _design_advice(Additive(), runs) == [few_tokens.remark, few_mixtures.remark]
    assert _design_advice(Chinchilla(), runs) == [few_tokens.remark]  # it has no mixture term
