"""`bands`: predicted losses of any number of designs as one table, in bounded memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from bayesmix.design import Designs
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.stack import Stack
from bayesmix.runtime.compute import cores, padded_down

LEVELS = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
CHUNK = 2**20
"""Number of losses (draw × design × target) in a part: 8 MB, and a few times that in progress.

Every part has a seed of its own, so the size is the same on every machine.
"""
AT_ONCE = 4
"""Maximum number of parts that are computed at once, one a core."""


def bands(
    posterior: Posterior | Stack, designs: Designs, *, seed: int = 0, progress: bool = False
) -> dict[str, np.ndarray]:
    """Mean, standard deviation and quantiles of the loss that a run of each design would measure.

    `posterior.predict` keeps every draw; this keeps the summary alone, so that a million designs
    fit into memory.

    Args:
        posterior: posterior or stack that predicts.
        designs: designs to predict; domains are matched by name.
        seed: random seed of the discrepancy beyond the runs and of the scatter.
        progress: show a bar with the time left on standard error, if it takes long.

    Returns:
        Column → values, one row a design and target, targets running fastest; `pandas.DataFrame`
        and `write_table` take it. `mean`, `sd`, `q05`, `q25`, `q50`, `q75`, `q95` are of the loss a
        run would measure, in nats; `law_q05` and `law_q95` leave out the scatter of runs;
        `params_beyond`, `tokens_beyond` and `mixture_outside` say how far the design lies from the
        fitted runs.

    Raises:
        InputError: the designs have other domains than the runs.
    """
    designs = designs.on(posterior.domains)
    rows = padded_down(CHUNK // (posterior.n_draws * len(posterior.targets)))
    starts = range(0, len(designs), rows)
    seeds = np.random.SeedSequence(seed).generate_state(len(starts))

    def part(start: int, part_seed: int) -> dict[str, np.ndarray]:
        return _summary(
            posterior, designs.take(np.arange(start, min(start + rows, len(designs)))), part_seed
        )

    with ThreadPoolExecutor(min(cores(), AT_ONCE)) as pool:
        results = pool.map(part, starts, map(int, seeds))
        bar = tqdm(
            results,
            desc="predicting",
            total=len(starts),
            delay=2,
            ncols=80,
            leave=False,
            disable=not progress,
        )
        tables = list(bar)
    targets = len(posterior.targets)
    columns: dict[str, np.ndarray] = {
        "id": np.repeat(np.array(designs.ids, dtype=object), targets),
        "params": np.repeat(designs.params, targets),
        "tokens": np.repeat(designs.tokens, targets),
        "target": np.tile(np.array(posterior.targets, dtype=object), len(designs)),
    }
    columns |= {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    return columns | {
        "diagnostics": np.full(len(designs) * targets, posterior.diagnostics.verdict, dtype=object)
    }


def _summary(posterior: Posterior | Stack, designs: Designs, seed: int) -> dict[str, np.ndarray]:
    """Column → values (design × target), targets running fastest."""
    expected, measured = posterior.expected_and_measured(designs, seed)
    quantiles = measured.quantile(list(LEVELS.values()))
    low, high = expected.quantile([0.05, 0.95])
    table = {"mean": measured.mean, "sd": measured.sd, **dict(zip(LEVELS, quantiles, strict=True))}
    columns = {
        name: value.reshape(-1)
        for name, value in (table | {"law_q05": low, "law_q95": high}).items()
    }
    extrapolation = measured.extrapolation
    assert extrapolation is not None
    by_run = {
        "params_beyond": extrapolation.params,
        "tokens_beyond": extrapolation.tokens,
        "mixture_outside": extrapolation.mixture,
    }
    return columns | {
        name: np.repeat(value, len(posterior.targets)) for name, value in by_run.items()
    }
