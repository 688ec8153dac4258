"""`lint`: each finding is found where it is, and only there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmix.runs.lint import LintReport, lint
from bayesmix.runs.load import load_runs, read_table

WEIGHTS = ["weight.web", "weight.code", "weight.books"]


def ladder(runs: int = 20, steps: int = 4) -> pd.DataFrame:
    """Checkpoints of training runs, without a column that says so."""
    rng = np.random.default_rng(1)
    rows = runs * steps
    weights = np.repeat(rng.dirichlet(np.ones(3), runs), steps, axis=0)
    frame = pd.DataFrame(weights, columns=WEIGHTS)
    frame["run_id"] = [f"c{i}" for i in range(rows)]
    frame["params"] = np.repeat(rng.choice([1e8, 3e8, 1e9], runs), steps)
    frame["tokens"] = np.tile(1e9 * 2.0 ** np.arange(steps), runs)
    frame["loss.web"] = 2 + 300 / frame["tokens"] ** 0.28 + 0.01 * rng.standard_normal(rows)
    frame["loss.sums"] = 1 + 300 / frame["tokens"] ** 0.28 + 0.01 * rng.standard_normal(rows)
    return frame


def codes(report: LintReport) -> dict[str, str]:
    return {f.code: f.severity for f in report.findings}


def test_a_clean_table_has_nothing_to_report(frame: pd.DataFrame) -> None:
    report = lint(frame)
    assert codes(report) == {} and not report.failed
    assert str(report) == "48 rows, 3 domains, 2 targets: nothing to report"
    assert lint(load_runs(frame)) == report


def add(frame: pd.DataFrame, row: int, **changes: object) -> pd.DataFrame:
    extra = frame.iloc[[row]].assign(run_id="extra", **changes)
    return pd.concat([frame, extra], ignore_index=True)


def cell(frame: pd.DataFrame, name: str, value: object) -> pd.DataFrame:
    frame = frame.astype({name: object})
    frame.loc[4, name] = value
    return frame


FRAME_FINDINGS = [
    ("duplicate-row", "fail", 1, lambda f: add(f, 3)),
    ("duplicate-run-id", "fail", 1, lambda f: cell(f, "run_id", "r0")),
    ("duplicate-run-id", "fail", 1, lambda f: cell(f, "run_id", None)),
    ("row-sum", "fail", 48, lambda f: f.assign(**{w: f[w].round(2) * 1.003 for w in WEIGHTS})),
    ("bad-weight", "fail", 1, lambda f: cell(f, "weight.web", -0.1)),
    ("bad-weight", "fail", 1, lambda f: cell(f, "weight.web", None)),
    ("bad-scale", "fail", 1, lambda f: cell(f, "params", 0)),
    (
        "bad-plan",
        "fail",
        2,
        lambda f: f.assign(tokens_planned=f["tokens"] * np.where(f.index < 2, 0.5, 2)),
    ),
    ("bad-loss", "fail", 1, lambda f: cell(f, "loss.web", float("inf"))),
    ("not-a-number", "fail", 1, lambda f: cell(f, "tokens", "7B")),
    ("missing-column", "fail", 1, lambda f: f.rename(columns={"params": "param"})),
    ("missing-column", "fail", 1, lambda f: f.drop(columns=["loss.web", "loss.sums"])),
    ("misspelt-column", "fail", 1, lambda f: f.rename(columns={"loss.web": "Loss.web"})),
    ("no-rows", "fail", 0, lambda f: f.iloc[:0]),
    (
        "missing-loss",
        "info",
        10,
        lambda f: f.assign(**{"loss.web": f["loss.web"].where(f.index >= 10)}),
    ),
    ("few-params", "review", 2, lambda f: f.assign(params=np.where(f["params"] > 5e8, 1e9, 1e8))),
    ("few-tokens", "review", 1, lambda f: f.assign(tokens=1e9)),
    (
        "tied-scale",
        "fail",
        48,
        lambda f: f.assign(tokens=20 * f["params"] * np.linspace(1, 1.1, len(f))),
    ),
    (
        "tied-scale",
        "review",
        48,
        lambda f: f.assign(tokens=20 * f["params"] * np.tile([0.63, 1.58], len(f) // 2)),
    ),
    (
        "tied-scale",
        "info",
        48,
        lambda f: f.assign(tokens=20 * f["params"] * np.tile([0.4, 2.5], len(f) // 2)),
    ),
    ("tied-scale", "fail", 48, lambda f: f.assign(tokens=1e19 / f["params"])),
    ("exact-zeros", "info", 48, lambda f: f.assign(**{"weight.none": 0.0})),
    ("no-corners", "info", 3, lambda f: f.assign(**{w: 0.4 * f[w] + 0.2 for w in WEIGHTS})),
    (
        "constant-domain",
        "review",
        1,
        lambda f: f.assign(**{w: 0.9 * f[w] for w in WEIGHTS}, **{"weight.same": 0.1}),
    ),
    (
        "few-mixtures",
        "review",
        5,
        lambda f: f.assign(**{w: np.resize(f[w][:5], len(f)) for w in WEIGHTS}),
    ),
    (
        "short-target",
        "review",
        1,
        lambda f: f.assign(**{"loss.web": f["loss.web"].where(f.index < 16)}),
    ),
    ("short-target", "fail", 2, lambda f: f.iloc[:10]),
    ("outlying-loss", "review", 1, lambda f: cell(f, "loss.web", 9.0)),
    (
        "mixed-train-run",
        "review",
        24,
        lambda f: f.assign(train_run=[f"t{i // 2}" for i in range(len(f))]),
    ),
]


@pytest.mark.parametrize(
    ("code", "severity", "count", "spoil"),
    FRAME_FINDINGS,
    ids=[f"{f[0]}-{i}" for i, f in enumerate(FRAME_FINDINGS)],
)
def test_finding(frame: pd.DataFrame, code: str, severity: str, count: int, spoil) -> None:
    finding = lint(spoil(frame)).of(code)
    assert finding is not None
    assert (finding.severity, finding.count) == (severity, count)


def test_which_exponents_are_not_identified(frame: pd.DataFrame) -> None:
    report = lint(frame.assign(params=1e8, tokens=1e9))
    few_params, few_tokens = report.of("few-params"), report.of("few-tokens")
    assert few_params is not None and "alpha" in few_params.message
    assert few_tokens is not None and "beta" in few_tokens.message
    assert report.of("tied-scale") is None


def test_pseudo_replicates(frame: pd.DataFrame) -> None:
    checkpoints = ladder()
    assert codes(lint(checkpoints))["pseudo-replicates"] == "review"
    declared = lint(checkpoints.assign(train_run=[f"t{i // 4}" for i in range(len(checkpoints))]))
    assert "pseudo-replicates" not in codes(declared) and codes(declared)["checkpoints"] == "info"
    seeds = checkpoints.assign(seed=range(len(checkpoints)))
    assert "pseudo-replicates" not in codes(lint(seeds))
    assert codes(lint(checkpoints.drop(columns=WEIGHTS)))["pseudo-replicates"] == "info"


@pytest.mark.parametrize("later", [1.0001, 1.3, 1.0])
@pytest.mark.parametrize("declared", [True, False])
def test_repeated_last_checkpoint(later: float, declared: bool) -> None:
    frame = ladder()
    frame["train_run"] = [f"t{i // 4}" for i in range(len(frame))]
    last = frame[frame.index % 4 == 3]
    repeats = last.assign(run_id=last["run_id"] + "-end", tokens=last["tokens"] * later)
    frame = pd.concat([frame, repeats]).sample(frac=1, random_state=0)
    report = lint(frame if declared else frame.drop(columns="train_run"))
    found = (
        report.of("duplicate-checkpoint") if declared or later > 1 else report.of("duplicate-row")
    )
    assert found is not None and (found.severity, found.count) == ("fail", 20)


def test_one_equal_loss_may_be_rounding() -> None:
    frame = ladder().drop(columns="loss.sums")
    frame["loss.web"] = frame["loss.web"].round(0)
    assert codes(lint(frame))["duplicate-checkpoint"] == "review"


def test_blank_rows_are_no_repeats() -> None:
    frame = ladder()
    frame.loc[:, ["loss.web", "loss.sums"]] = np.nan
    assert not {"duplicate-checkpoint", "duplicate-row"} & set(codes(lint(frame)))


def test_report_is_compact_and_plain(frame: pd.DataFrame) -> None:
    frame = add(frame, 3).assign(tokens=1e9, train_run="a")
    report = lint(frame)
    assert report.failed and report.findings[0].severity == "fail"
    assert all(len(line) <= 80 for line in str(report).splitlines())
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["rows"] == 49 and plain["failed"]
    assert {f["code"] for f in plain["findings"]} == set(codes(report))
    for finding in report.findings:
        assert finding.message.endswith(".") and finding.advice.endswith("."), finding


def test_order_does_not_matter(frame: pd.DataFrame) -> None:
    frame = add(frame, 3).assign(tokens=1e9)
    shuffled = frame.sample(frac=1, random_state=3)[sorted(frame.columns)]
    assert codes(lint(shuffled)) == codes(lint(frame))


def test_works_on_nothing_but_garbage() -> None:
    report = lint(pd.DataFrame({"a": ["x", None], "b": [1, 2]}))
    assert report.failed and set(codes(report)) == {"missing-column"}


def test_lints_other_layouts_through_read_table() -> None:
    raw = pd.DataFrame(
        {
            "model_size": [1e8] * 3,
            "n_tokens": [1e9, 2e9, 3e9],
            "weight_a": 0.9,
            "a_loss": [4, 3, 2.0],
        }
    )
    found = codes(lint(read_table(raw, preset="columns")))
    assert found["row-sum"] == "fail" and found["checkpoints"] == "info"


def test_large_tables_are_cheap() -> None:
    rng = np.random.default_rng(0)
    rows, domains = 20_000, 30
    frame = pd.DataFrame(
        rng.dirichlet(np.ones(domains), rows), columns=[f"weight.d{i}" for i in range(domains)]
    )
    frame = frame.assign(
        run_id=range(rows),
        params=rng.choice([1e8, 1e9, 1e10], rows),
        tokens=rng.lognormal(20, 1, rows),
    )
    frame["loss.a"] = 3 + 0.1 * rng.standard_normal(rows)
    assert codes(lint(frame)) == {}


EXPECTED = {
    "slimpajama": {
        "duplicate-checkpoint": "fail",
        "checkpoints": "info",
        "missing-loss": "info",
        "no-corners": "info",
    },
    "regmix": {"few-params": "review", "few-tokens": "review", "exact-zeros": "info"},
    "chinchilla": {"outlying-loss": "review", "pseudo-replicates": "info"},
    "gadre": {"pseudo-replicates": "info"},
}


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_known_traps_of_published_tables(
    shared_data: Path, name: str, expected: dict[str, str]
) -> None:
    assert expected.items() <= codes(lint(read_table(shared_data / name / "runs.csv"))).items()


def test_every_repeat_of_slimpajama_is_found_and_nothing_else(shared_data: Path) -> None:
    table = read_table(shared_data / "slimpajama" / "runs.csv")
    found = lint(table).of("duplicate-checkpoint")
    assert found is not None and found.count == int(table["repeat_of_previous"].sum()) == 220
    undeclared = lint(table.drop(columns="train_run"))
    assert undeclared.of("duplicate-checkpoint") == found
    assert not lint(table[~table["repeat_of_previous"]]).failed
