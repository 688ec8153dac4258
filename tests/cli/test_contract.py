"""The commands do what the contract says: files, columns, JSON fields, exit codes, what goes to which stream."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmix.inference.storage import load_posterior
from tests.cli.conftest import DOMAINS, TARGETS, Call, Said, run_program, runs_frame

QUANTILES = ["q05", "q25", "q50", "q75", "q95"]
OPTIMIZE = ("--params", "1e9", "--tokens", "20B")


def test_fit_writes_a_posterior_and_prints_the_diagnostics(fitted: tuple[Path, Said]) -> None:
    path, said = fitted
    assert said.code == 0
    assert {"R-hat", "bulk", "tail", "divergent", "E-BFMI"} <= set(said.out.split())
    assert "PASS: " in said.out or "REVIEW: " in said.out
    assert "48 measured points" in said.err and "sampling" in said.err and "independent posteriors" in said.err
    kept = load_posterior(path)
    assert (kept.targets, kept.domains, kept.n_draws) == (TARGETS, DOMAINS, 2000)
    assert not list(path.parent.glob(".*")), "nothing half-written is left"


def test_arviz_opens_the_file_unaided(posterior: Path) -> None:
    import arviz as az

    tree = az.from_netcdf(posterior)
    assert {"posterior", "sample_stats", "log_likelihood", "observed_data"} <= set(tree.children)
    assert {"card", "fingerprint", "versions"} <= set(tree.attrs)


def test_fit_takes_targets_filters_and_json(runs_csv: Path, tmp_path: Path, call: Call) -> None:
    out = tmp_path / "deep" / "posterior.nc"
    few = ("--chains", 2, "--draws", 50, "--warmup", 50, "--seed", 3)
    where = ("--where", "params > 6e7", "--where", "tokens < 5e9", "--targets", "python")
    said = call("fit", runs_csv, "--model", "chinchilla", *few, *where, "--out", out, "--json")
    table = json.loads(said.out)
    assert said.code == 3 and table["diagnostics"]["verdict"] == "FAIL", "too few draws: written, marked, 3"
    assert (table["targets"], table["runs"], table["chains"], table["draws"]) == (["python"], 24, 2, 50)
    kept = load_posterior(out)
    assert kept.runs.fingerprint == table["fingerprint"]
    assert not kept.diagnostics.passed


def test_predict_writes_a_row_a_design_and_target(posterior: Path, designs_csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    said = run_program("predict", posterior, "--designs", designs_csv, "--out", out)
    assert (said.code, said.out) == (0, "")
    table = pd.read_csv(out)
    assert table["id"].tolist() == ["big", "big", "small", "small", "other", "other"]
    assert table["target"].tolist() == list(TARGETS) * 3
    assert {"target", "mean", "sd", *QUANTILES, "law_q05", "law_q95"} <= set(table.columns)
    assert (np.diff(table[QUANTILES].to_numpy()) > 0).all()
    assert (table["law_q05"] > table["q05"]).all() and (table["law_q95"] < table["q95"]).all()
    assert table["mean"].between(1.5, 5).all()


def test_predict_prints_what_it_would_write(posterior: Path, designs_csv: Path, tmp_path: Path, call: Call) -> None:
    files = [tmp_path / f"predictions.{suffix}" for suffix in ("csv", "parquet", "json")]
    for file in files:
        assert call("predict", posterior, "--designs", designs_csv, "--out", file).code == 0
    printed = pd.read_csv(StringIO(call("predict", posterior, "--designs", designs_csv).out))
    as_json = json.loads(call("predict", posterior, "--designs", designs_csv, "--json").out)["predictions"]
    for table in (pd.read_csv(files[0]), pd.read_parquet(files[1]), pd.read_json(files[2]), pd.DataFrame(as_json)):
        pd.testing.assert_frame_equal(table, printed, check_dtype=False)


def test_predict_carries_run_ids_over_and_numbers_designs_without(
    posterior: Path, designs_csv: Path, tmp_path: Path, call: Call
) -> None:
    designs = pd.read_csv(designs_csv)
    named, bare = tmp_path / "named.csv", tmp_path / "bare.parquet"
    designs.rename(columns={"id": "run_id"}).to_csv(named, index=False)
    designs.drop(columns="id").to_parquet(bare)
    by_name = pd.read_csv(StringIO(call("predict", posterior, "--designs", named).out))
    numbered = pd.read_csv(StringIO(call("predict", posterior, "--designs", bare).out))
    assert by_name["run_id"].tolist()[::2] == ["big", "small", "other"]
    assert numbered["id"].tolist() == [0, 0, 1, 1, 2, 2]


def test_predict_in_parts_is_predict_at_once(
    posterior: Path, designs_csv: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pd.read_csv(StringIO(call("predict", posterior, "--designs", designs_csv).out))
    monkeypatch.setattr("bayesmix.cli.predict.CHUNK", 1)
    parts = pd.read_csv(StringIO(call("predict", posterior, "--designs", designs_csv).out))
    law = ["law_q05", "law_q95"]
    np.testing.assert_allclose(parts[law], whole[law], rtol=1e-9)
    np.testing.assert_allclose(parts[QUANTILES], whole[QUANTILES], rtol=5e-3)


def test_optimize_writes_what_the_contract_names(posterior: Path, tmp_path: Path) -> None:
    out, ours = tmp_path / "optimum.json", tmp_path / "ours.json"
    ours.write_text('{"code": 0.9, "web": 0.1}', encoding="utf-8")
    said = run_program(
        "optimize", posterior, *OPTIMIZE, "--risk", "cvar:0.9", "--against", f"ours={ours}", "--out", out
    )
    assert said.code == 0, said.err
    table = json.loads(out.read_text(encoding="utf-8"))
    assert set(table["mixture"]) == set(DOMAINS)
    assert sum(table["mixture"].values()) == pytest.approx(1)
    assert {"mean", "q05", "q95"} <= set(table["loss"])
    assert table["risk"] == "cvar:0.9" and table["converged"] is True and table["diagnostics"] in ("PASS", "REVIEW")
    assert table["gap"] is not None or table["gap_reason"]
    for other in (table["uniform"], table["against"]["ours"]):
        assert {"mean", "q05", "q95"} <= set(other["loss"]) and 0 <= other["probability_worse"] <= 1
    assert "this mixture" in said.out and str(out) in said.err
    assert all(len(line) <= 80 for line in said.out.splitlines())


def test_optimize_obeys_weights_targets_and_bounds(posterior: Path, call: Call) -> None:
    def mixture(*more: str) -> dict[str, float]:
        said = call("optimize", posterior, *OPTIMIZE, "--json", *more)
        assert said.code == 0, said.err
        return json.loads(said.out)["mixture"]

    prose, python = mixture("--weights", "prose=1,python=0"), mixture("--targets", "python")
    assert prose["web"] > 0.9 and python["code"] > 0.9
    bounded = mixture("--weights", "prose=1", "--bounds", "web=0.2:0.4", "--bounds", "code=:0.7")
    assert 0.3 - 1e-6 <= bounded["web"] <= 0.4 + 1e-6
    assert mixture("--risk", "worst-target")["web"] == pytest.approx(0.5, abs=0.2)


def test_optimize_reads_constraints_and_mixtures_from_files(posterior: Path, tmp_path: Path, call: Call) -> None:
    constraints, table, optimum = tmp_path / "allowed.toml", tmp_path / "mix.csv", tmp_path / "optimum.json"
    constraints.write_text("epochs = 2\n[stock]\nweb = 3e9\n", encoding="utf-8")
    table.write_text("weight.web,weight.code\n0.3,0.7\n", encoding="utf-8")
    first = call("optimize", posterior, *OPTIMIZE, "--constraints", constraints, "--out", optimum)
    assert first.code == 0
    assert json.loads(optimum.read_text(encoding="utf-8"))["mixture"]["web"] <= 0.3 + 1e-6
    both = ("--against", f"table={table}", "--against", f"before={optimum}")
    found = json.loads(call("optimize", posterior, *OPTIMIZE, *both, "--json").out)
    assert set(found["against"]) == {"table", "before"}
    assert found["against"]["table"]["mixture"] == {"web": 0.3, "code": 0.7}


def test_constraints_that_nothing_meets_are_exit_4(posterior: Path, tmp_path: Path, call: Call) -> None:
    out = tmp_path / "optimum.json"
    said = call("optimize", posterior, *OPTIMIZE, "--bounds", "web=0.7:1", "--bounds", "code=0.5:1", "--out", out)
    assert said.code == 4 and said.err.startswith("error: ") and not out.exists()


def test_a_posterior_that_failed_is_marked_and_exit_3(
    failed_posterior: Path, designs_csv: Path, tmp_path: Path, call: Call
) -> None:
    out, optimum = tmp_path / "predictions.csv", tmp_path / "optimum.json"
    said = call("predict", failed_posterior, "--designs", designs_csv, "--out", out)
    assert said.code == 3 and "not to be trusted" in said.sentence
    assert set(pd.read_csv(out)["diagnostics"]) == {"FAIL"}
    said = call("optimize", failed_posterior, *OPTIMIZE, "--out", optimum)
    assert said.code == 3 and "not to be taken as an answer" in said.sentence
    assert json.loads(optimum.read_text(encoding="utf-8"))["diagnostics"] == "FAIL"


def test_lint_reports_findings_and_their_codes(runs_csv: Path, tmp_path: Path, call: Call) -> None:
    assert call("lint", runs_csv).code == 0
    broken = runs_frame()
    broken.loc[3, "weight.web"] = 0.9
    broken.to_csv(tmp_path / "broken.csv", index=False)
    said = call("lint", tmp_path / "broken.csv", "--json")
    report = json.loads(said.out)
    assert said.code == 2 and report["failed"]
    assert all({"code", "severity", "message", "advice", "count"} <= set(f) for f in report["findings"])


def test_prior_check_shows_prior_beside_observed(runs_csv: Path, call: Call) -> None:
    shown = json.loads(call("prior-check", "chinchilla", runs_csv, "--targets", "prose", "--json").out)
    assert set(shown) == {"prose"} and {"prior", "observed"} <= set(shown["prose"])


def test_models_lists_cards_and_shows_one(call: Call) -> None:
    assert {"additive", "joint", "chinchilla"} <= set(call("models").out.split())
    shown = call("models", "joint").out
    assert "90 % interval" in shown and all(len(line) <= 80 for line in shown.splitlines())
    assert json.loads(call("models", "joint", "--json").out)["law"] == "joint"


@pytest.mark.parametrize("command", ["", "fit", "predict", "optimize", "demo", "lint", "prior-check", "models"])
def test_every_help_has_an_example(command: str, call: Call) -> None:
    said = call(*command.split(), "--help")
    assert said.code == 0
    assert not command or f"\n    bayesmix {command}" in said.out


def test_the_program_says_its_version(call: Call) -> None:
    assert call("--version").out.startswith("bayesmix ")


@pytest.mark.slow
def test_the_demo_runs_through(tmp_path: Path) -> None:
    said = run_program("demo", "--quick", "--out", tmp_path)
    assert said.code == 0, said.err
    assert "SIMULATED" in said.out and "PASS" in said.out and "nats saved" in said.out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"runs.csv", "posterior.nc", "designs.csv", "predictions.csv", "optimum.json"}
