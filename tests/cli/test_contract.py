"""The contract of the commands: files, columns, JSON fields, exit codes, output streams."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmix.posterior.storage import load_posterior
from tests.cli.conftest import DOMAINS, TARGETS, Call, Said, run_program, runs_frame
from tests.cli.words import calls_in, commands, understood

QUANTILES = ["q05", "q25", "q50", "q75", "q95"]
OPTIMIZE = ("--params", "1e9", "--tokens", "20B")
QUICK = (*OPTIMIZE, "--quick", "--max-draws", "300")


def test_fit_writes_a_posterior_and_prints_the_diagnostics(fitted: tuple[Path, Said]) -> None:
    path, said = fitted
    assert said.code == 0
    assert {"R-hat", "bulk", "tail", "divergent", "E-BFMI"} <= set(said.out.split())
    assert "PASS: " in said.out or "REVIEW: " in said.out
    assert (
        "48 measured points" in said.err
        and "sampling" in said.err
        and "independent posteriors" in said.err
    )
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
    assert said.code == 3 and table["diagnostics"]["verdict"] == "FAIL", (
        "too few draws: written, marked, 3"
    )
    assert (table["targets"], table["runs"], table["chains"], table["draws"]) == (
        ["python"],
        24,
        2,
        50,
    )
    kept = load_posterior(out)
    assert kept.runs.fingerprint == table["fingerprint"]
    assert not kept.diagnostics.passed


def test_predict_writes_a_row_a_design_and_target(
    posterior: Path, designs_csv: Path, tmp_path: Path
) -> None:
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


def test_predict_prints_what_it_would_write(
    posterior: Path, designs_csv: Path, tmp_path: Path, call: Call
) -> None:
    files = [tmp_path / f"predictions.{suffix}" for suffix in ("csv", "parquet", "json")]
    for file in files:
        assert call("predict", posterior, "--designs", designs_csv, "--out", file).code == 0
    printed = pd.read_csv(StringIO(call("predict", posterior, "--designs", designs_csv).out))
    as_json = json.loads(call("predict", posterior, "--designs", designs_csv, "--json").out)[
        "predictions"
    ]
    for table in (
        pd.read_csv(files[0]),
        pd.read_parquet(files[1]),
        pd.read_json(files[2]),
        pd.DataFrame(as_json),
    ):
        pd.testing.assert_frame_equal(table, printed, check_dtype=False)


def test_predict_shows_a_terminal_a_table(
    posterior: Path, designs_csv: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bayesmix.cli.predict.sys.stdout.isatty", lambda: True)
    lines = call("predict", posterior, "--designs", designs_csv).out.splitlines()
    assert len(lines) == 7 and "90 % band" in lines[0] and all(len(line) <= 80 for line in lines)
    assert lines[1].split()[:4] == ["big", "1B", "20B", "prose"]


def test_check_speaks_in_words_and_in_json(posterior: Path, call: Call) -> None:
    said = call("check", posterior)
    assert said.code == 0 and "PASS" in said.out and not said.out.startswith("{")
    assert all(len(line) <= 80 for line in said.out.splitlines()) and "http" not in said.err
    assert {"diagnostics", "check", "loo_pit"} == set(
        json.loads(call("check", posterior, "--json").out)
    )


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
    monkeypatch.setattr("bayesmix.posterior.bands.CHUNK", 1)
    parts = pd.read_csv(StringIO(call("predict", posterior, "--designs", designs_csv).out))
    law = ["law_q05", "law_q95"]
    np.testing.assert_allclose(parts[law], whole[law], rtol=1e-9)
    np.testing.assert_allclose(parts[QUANTILES], whole[QUANTILES], rtol=5e-3)


def test_optimize_writes_what_the_contract_names(posterior: Path, tmp_path: Path) -> None:
    out, ours = tmp_path / "optimum.json", tmp_path / "ours.json"
    ours.write_text('{"code": 0.9, "web": 0.1}', encoding="utf-8")
    said = run_program(
        "optimize",
        posterior,
        *OPTIMIZE,
        "--risk",
        "cvar:0.9",
        "--against",
        f"ours={ours}",
        "--out",
        out,
    )
    assert said.code == 0, said.err
    table = json.loads(out.read_text(encoding="utf-8"))
    assert set(table["mixture"]) == set(DOMAINS)
    assert sum(table["mixture"].values()) == pytest.approx(1)
    assert {"mean", "q05", "q95"} <= set(table["loss"])
    assert (
        table["risk"] == "cvar:0.9"
        and table["converged"] is True
        and table["diagnostics"] in ("PASS", "REVIEW")
    )
    assert table["gap"] is not None or table["gap_reason"]
    for other in (table["uniform"], table["against"]["ours"]):
        assert {"mean", "q05", "q95"} <= set(other["loss"]) and 0 <= other["probability_worse"] <= 1
    assert "this mixture" in said.out and str(out) in said.err
    assert all(len(line) <= 80 for line in said.out.splitlines())


def test_optimize_obeys_weights_targets_and_bounds(posterior: Path, call: Call) -> None:
    def mixture(*more: str) -> dict[str, float]:
        said = call("optimize", posterior, *QUICK, "--json", *more)
        assert said.code == 0, said.err
        return json.loads(said.out)["mixture"]

    prose, python = mixture("--weights", "prose=1,python=0"), mixture("--targets", "python")
    assert prose["web"] > 0.9 and python["code"] > 0.9
    bounded = mixture("--weights", "prose=1", "--bounds", "web=0.2:0.4", "--bounds", "code=:0.7")
    assert 0.3 - 1e-6 <= bounded["web"] <= 0.4 + 1e-6
    assert mixture("--risk", "worst-target")["web"] == pytest.approx(0.5, abs=0.2)


def test_optimize_reads_constraints_and_mixtures_from_files(
    posterior: Path, tmp_path: Path, call: Call
) -> None:
    constraints, table, optimum = (
        tmp_path / "allowed.toml",
        tmp_path / "mix.csv",
        tmp_path / "optimum.json",
    )
    constraints.write_text("epochs = 2\n[stock]\nweb = 3e9\n", encoding="utf-8")
    table.write_text("weight.web,weight.code\n0.3,0.7\n", encoding="utf-8")
    first = call("optimize", posterior, *QUICK, "--constraints", constraints, "--out", optimum)
    assert first.code == 0
    assert json.loads(optimum.read_text(encoding="utf-8"))["mixture"]["web"] <= 0.3 + 1e-6
    both = ("--against", f"table={table}", "--against", f"before={optimum}")
    found = json.loads(call("optimize", posterior, *QUICK, *both, "--json").out)
    assert set(found["against"]) == {"table", "before"}
    assert found["against"]["table"]["mixture"] == {"web": 0.3, "code": 0.7}


def test_constraints_that_nothing_meets_are_exit_4(
    posterior: Path, tmp_path: Path, call: Call
) -> None:
    out = tmp_path / "optimum.json"
    said = call(
        "optimize",
        posterior,
        *QUICK,
        "--bounds",
        "web=0.7:1",
        "--bounds",
        "code=0.5:1",
        "--out",
        out,
    )
    assert said.code == 4 and said.err.startswith("error: ") and not out.exists()


def test_every_constraint_and_criterion_is_on_the_command_line(
    posterior: Path, tmp_path: Path, call: Call
) -> None:
    natural = tmp_path / "natural.json"
    natural.write_text('{"web": 0.8, "code": 0.2}', encoding="utf-8")

    def answer(*more: object) -> dict:
        said = call("optimize", posterior, *QUICK, "--natural", natural, "--json", *more)
        assert said.code == 0, said.err
        return json.loads(said.out)

    assert set(answer()["against"]) == {"natural"}
    assert answer("--near", "natural=tv:0.1")["mixture"]["web"] == pytest.approx(0.7, abs=1e-3)
    assert answer("--near", "natural=0.001")["mixture"]["web"] > 0.75
    assert answer("--support", "--targets", "python")["mixture"]["web"] >= 0.0999
    stocked = answer("--stock", "web=1B", "--epochs", 4, "--targets", "prose")["mixture"]
    assert stocked["web"] == pytest.approx(0.2, abs=1e-3), "4 epochs of 1B in 20B tokens"
    kept = answer("--promise", "natural=0.1%:0.9", "--targets", "python")
    (promise, held), *_ = kept["chances"].items()
    assert held >= 0.9 and "natural" in promise
    for risk in (
        "max-regret",
        "minimax-regret",
        "deviation:0.5",
        "worst-draw",
        "quantile:0.8",
        "worst-target/cvar:0.5",
    ):
        assert answer("--risk", risk)["converged"], risk
    quiet, noisy = (
        answer("--risk", "cvar:0.9")["value"],
        answer("--risk", "cvar:0.9", "--run-noise")["value"],
    )
    assert noisy > quiet


def test_promises_and_every_other_constraint_stand_in_a_file(
    posterior: Path, tmp_path: Path, call: Call
) -> None:
    file = tmp_path / "allowed.toml"
    file.write_text(
        'epochs = 2\nsupport = true\nlinear = ["web - code <= 0.5"]\n[bounds]\nweb = [0.1,'
        ' 0.9]\n[stock]\nweb = 4e9\n[groups.all]\ndomains = ["web", "code"]\nbounds = [0.5,'
        " 1.0]\n[trust_region]\nmixture = { web = 0.5, code = 0.5 }\nradius = 0.2\nmeasure ="
        ' "tv"\n[[promises]]\nbaseline = "uniform"\nmargin = 0.05\nprobability = 0.9\n',
        encoding="utf-8",
    )
    said = call(
        "optimize", posterior, *QUICK, "--targets", "prose", "--constraints", file, "--json"
    )
    assert said.code == 0, said.err
    table = json.loads(said.out)
    assert 0.3 - 1e-6 <= table["mixture"]["web"] <= 0.4 + 1e-6
    assert next(iter(table["chances"].values())) >= 0.9


def test_optimize_hands_over_rounded_weights(posterior: Path, tmp_path: Path, call: Call) -> None:
    forms = {
        "json": "m.json",
        "yaml": "m.yaml",
        "olmix": "ratios.csv",
        "megatron": "blend.txt",
        "hugging-face": "hf.json",
    }
    asked = [
        part
        for form, name in forms.items()
        for part in ("--hand-over", f"{form}={tmp_path / name}")
    ]
    said = call("optimize", posterior, *QUICK, *asked, "--units", 64, "--json")
    assert said.code == 0, said.err
    rounded = json.loads(said.out)["rounded"]
    assert all((64 * w) % 1 == 0 for w in rounded["mixture"].values())
    assert abs(rounded["loss_of_rounding"]["mean"]) < 0.01
    assert json.loads((tmp_path / "m.json").read_text()) == rounded["mixture"]
    assert json.loads((tmp_path / "hf.json").read_text())["probabilities"] == list(
        rounded["mixture"].values()
    )
    assert (
        pd.read_csv(tmp_path / "ratios.csv")[list(DOMAINS)].iloc[0].to_dict() == rounded["mixture"]
    )
    assert (tmp_path / "blend.txt").read_text().split()[1] in DOMAINS


def test_path_follows_the_optimum(posterior: Path, tmp_path: Path, call: Call) -> None:
    start = ("--params", "1e9", "--tokens", "20B", "--max-draws", 100)
    out = tmp_path / "path.json"
    said = call(
        "path", posterior, *start, "--to", 16, "--along", "tokens", "--points", 3, "--out", out
    )
    assert said.code == 0, said.err
    scales = [
        (o["params"], o["tokens"]) for o in json.loads(out.read_text(encoding="utf-8"))["path"]
    ]
    np.testing.assert_allclose(scales, [(1e9, 2e10), (1e9, 8e10), (1e9, 3.2e11)])
    assert all(len(line) <= 80 for line in said.out.splitlines()) and "320B" in said.out


def test_path_answers_the_other_questions_about_scale(
    posterior: Path, tmp_path: Path, call: Call
) -> None:
    start, few = (
        ("--params", "1e9", "--tokens", "20B"),
        ("--max-draws", 100, "--points", 3, "--json"),
    )
    budget = json.loads(call("path", posterior, "--params", "100M:10B", "--flops", 1e20, *few).out)
    assert 6 * budget["params"] * budget["tokens"] == pytest.approx(1e20)
    front = json.loads(call("path", posterior, *start, "--pareto", "prose,python", *few).out)[
        "front"
    ]
    assert front[0]["mixture"]["code"] > 0.9 and front[-1]["mixture"]["web"] > 0.9
    ours = tmp_path / "ours.json"
    ours.write_text('{"web": 0.9, "code": 0.1}', encoding="utf-8")
    named = ("--against", f"ours={ours}", "--crossover", "uniform,ours")
    crossing = json.loads(call("path", posterior, *start, *named, *few).out)
    assert (
        crossing["mixtures"] == ["uniform", "ours"] and 0 <= crossing["probability_of_change"] <= 1
    )


@pytest.mark.parametrize(
    ("command", "arguments", "match"),
    [
        ("optimize", ("--bounds", "web=0.2:1.5"), "0.2 for 20 %"),
        ("optimize", ("--bounds", "web=0.6:0.2"), "lowest <= highest"),
        ("optimize", ("--near", "natural=0.1"), "--natural FILE"),
        ("optimize", ("--near", "uniform=cosine:0.1"), "kl or tv"),
        ("optimize", ("--promise", "theirs=1%"), "--against theirs=FILE"),
        ("optimize", ("--promise", "uniform=1%:95"), "probability"),
        ("optimize", ("--hand-over", "excel=x.xls"), "unknown format"),
        ("optimize", ("--stock", "web=none"), "not a number"),
        ("optimize", ("--epochs", "-1"), "epochs"),
        ("path", ("--along", "depth"), "flops, params or tokens"),
        ("path", ("--pareto", "prose"), "two names"),
        ("path", ("--crossover", "uniform,ours"), "--against ours=FILE"),
        ("path", ("--flops", "1e21"), "LOW:HIGH"),
        ("path", ("--flops", "1e21", "--pareto", "prose,python"), "one of --flops"),
    ],
)
def test_wrong_questions_are_exit_2(
    command: str, arguments: tuple, match: str, posterior: Path, call: Call
) -> None:
    said = call(command, posterior, *OPTIMIZE, *arguments)
    assert (said.code, said.out) == (2, "") and said.err.splitlines()[-1], said.err
    assert match in said.sentence


@pytest.mark.parametrize(
    "text",
    [
        "bounds = 3",
        "[bounds]\nweb = 0.3",
        "[groups.x]\ndomains = ['web']",
        "[trust_region]\nmixture = 'natural'",
        "[trust_region]\nmixture = {web = 1.0}\nradius = 'wide'",
        "epochs = 'four'",
        "[stock]\nweb = -1",
        "[fixed]\nweb = 2",
        "[[promises]]\nwho = 'me'",
        "promises = 3",
        "linear = 'web <= 1'",
        "[trust_region]\nmixture = 3\nradius = 0.1",
        "[groups.x]\ndomains = 3\nbounds = [0, 1]",
        "[[promises]]\nbaseline = 'uniform'\ntargets = 3",
    ],
)
def test_a_constraints_file_that_is_not_understood_is_exit_2(
    text: str, posterior: Path, tmp_path: Path, call: Call
) -> None:
    (tmp_path / "allowed.toml").write_text(text.replace("'", '"'), encoding="utf-8")
    said = call("optimize", posterior, *OPTIMIZE, "--constraints", tmp_path / "allowed.toml")
    assert said.code == 2 and said.err.startswith("error: "), said.err


def test_a_posterior_that_failed_is_marked_and_exit_3(
    failed_posterior: Path, designs_csv: Path, tmp_path: Path, call: Call
) -> None:
    out, optimum = tmp_path / "predictions.csv", tmp_path / "optimum.json"
    said = call("predict", failed_posterior, "--designs", designs_csv, "--out", out)
    assert said.code == 3 and "not to be trusted" in said.sentence
    assert set(pd.read_csv(out)["diagnostics"]) == {"FAIL"}
    said = call("optimize", failed_posterior, *QUICK, "--out", optimum)
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
    assert all(
        {"code", "severity", "message", "advice", "count"} <= set(f) for f in report["findings"]
    )


def test_prior_check_shows_prior_beside_observed(runs_csv: Path, call: Call) -> None:
    shown = json.loads(
        call("prior-check", "chinchilla", runs_csv, "--targets", "prose", "--json").out
    )
    assert set(shown) == {"prose"} and {"prior", "observed"} <= set(shown["prose"])


def test_models_lists_cards_and_shows_one(call: Call) -> None:
    listed = call("models").out
    assert {"additive", "joint", "chinchilla"} <= set(listed.split())
    assert all(len(line) <= 80 for line in listed.splitlines())
    shown = call("models", "joint").out
    assert "90 % interval" in shown and all(len(line) <= 80 for line in shown.splitlines())
    assert json.loads(call("models", "joint", "--json").out)["law"] == "joint"


@pytest.mark.parametrize("command", sorted(commands()), ids=" ".join)
def test_every_help_has_an_example_that_the_command_understands(
    command: tuple[str, ...], call: Call
) -> None:
    said = call(*command, "--help")
    assert said.code == 0 and all(len(line) <= 80 for line in said.out.splitlines()), said.out
    shown = [words for words in calls_in(said.out) if words[: len(command)] == list(command)]
    assert shown, said.out
    for words in shown:
        understood(words)


def test_the_list_of_commands_cuts_no_sentence(call: Call) -> None:
    for group in ((), ("campaign",), ("pocket",)):
        assert "..." not in call(*group, "--help").out.partition("Commands:")[2]


def test_shell_completion_knows_the_commands() -> None:
    asked = {"_BAYESMIX_COMPLETE": "complete_bash", "COMP_WORDS": "bayesmix pr", "COMP_CWORD": "1"}
    assert run_program(**asked).out.split() == ["predict", "prior-check"]


def test_the_program_says_its_version(call: Call) -> None:
    assert call("--version").out.startswith("bayesmix ")
