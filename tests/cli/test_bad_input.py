"""Whatever is wrong gets one sentence, the right exit code and no half-written file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import Call, runs_frame

# as in test_contract, for the sake of compiled programs
FEW = (
    "--chains",
    2,
    "--draws",
    50,
    "--warmup",
    50,
)


def spoilt(change: str) -> pd.DataFrame:
    """The runs with one thing wrong."""
    frame = runs_frame()
    match change:
        case "sum":
            frame.loc[2, "weight.web"] += 0.1
        case "negative":
            frame.loc[2, ["weight.web", "weight.code"]] = -0.2, 1.2
        case "nan":
            frame.loc[2, "weight.web"] = float("nan")
        case "params":
            frame.loc[2, "params"] = 0
        case "tokens":
            frame.loc[2, "tokens"] = -1e9
        case "loss":
            frame.loc[2, "loss.prose"] = -3
        case "duplicate":
            frame.loc[2, "run_id"] = "r1"
        case "column":
            frame = frame.rename(columns={"weight.web": "weights.web"})
        case "text":
            frame["loss.prose"] = frame["loss.prose"].astype(object)
            frame.loc[2, "loss.prose"] = "high"
        case "empty":
            frame = frame.iloc[:0]
    return frame


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("sum", "do not sum to 1"),
        ("negative", "r2"),
        ("nan", "r2"),
        ("params", "r2"),
        ("tokens", "r2"),
        ("loss", "r2"),
        ("duplicate", "r1"),
        ("column", "Did you mean"),
        ("text", "is not a number"),
        ("empty", "no rows"),
    ],
)
def test_a_spoilt_table_is_refused(change: str, match: str, tmp_path: Path, call: Call) -> None:
    spoilt(change).to_csv(tmp_path / "runs.csv", index=False)
    said = call("fit", tmp_path / "runs.csv", "--out", tmp_path / "posterior.nc", *FEW)
    assert said.code == 2, said.err
    assert said.err.startswith("error: ") and match in said.sentence
    assert {"expected", "got"} <= set(said.sentence.replace(",", "").split())
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]


def test_normalize_mends_sums(posterior: Path, designs_csv: Path, call: Call) -> None:
    designs = pd.read_csv(designs_csv)
    designs[["weight.web", "weight.code"]] *= 100
    designs.to_csv(designs_csv, index=False)
    assert call("predict", posterior, "--designs", designs_csv).code == 2
    assert call("predict", posterior, "--designs", designs_csv, "--normalize").code == 0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--model", "jiont"), "Did you mean joint"),
        (("--targets", "pros"), "Did you mean prose"),
        (("--where", "parms < 1"), "Did you mean params"),
        (("--where", "params < 1"), "no row satisfies"),
        (("--preset", "wde"), "unknown preset"),
        (("--params", "1e9"), "given twice"),
        (("--rename", "web"), "NAME=VALUE"),
        (("--target-accept", "1.5"), "target_accept"),
        (("--draws", "0"), "--draws"),
        (("--draws", "many"), "--draws"),
        (("--modle", "joint"), "--model"),
        (("--out", "/proc/nothing/posterior.nc"), "cannot write"),
    ],
)
def test_a_wrong_option_of_fit_is_exit_2(
    arguments: tuple[str, ...], match: str, runs_csv: Path, tmp_path: Path, call: Call
) -> None:
    said = call("fit", runs_csv, "--out", tmp_path / "posterior.nc", *FEW, *arguments)
    assert (said.code, said.out) == (2, "")
    assert match in said.sentence
    assert not list(tmp_path.iterdir())


def test_usage_errors_are_exit_2(call: Call) -> None:
    for arguments in (
        ("fitt",),
        ("predict", "posterior.nc"),
        ("optimize", "posterior.nc", "--params", "1e9"),
    ):
        said = call(*arguments)
        assert (said.code, said.out) == (2, "") and "Error" in said.err


def test_no_command_shows_the_help(call: Call) -> None:
    said = call()
    assert "Commands:" in said.out + said.err and said.code == 2


@pytest.mark.parametrize("content", [b"", b"CDF\x01 nonsense", b"\x89HDF\r\n\x1a\n cut short"])
def test_a_broken_posterior_is_exit_2(
    content: bytes, tmp_path: Path, designs_csv: Path, call: Call
) -> None:
    path = tmp_path / "posterior.nc"
    path.write_bytes(content)
    said = call("predict", path, "--designs", designs_csv)
    assert said.code == 2 and said.err.startswith("error: ") and "bayesmix fit" in said.sentence


def test_a_truncated_or_foreign_posterior_is_exit_2(
    posterior: Path, tmp_path: Path, designs_csv: Path, call: Call
) -> None:
    import xarray as xr

    cut, foreign = tmp_path / "cut.nc", tmp_path / "foreign.nc"
    cut.write_bytes(posterior.read_bytes()[:20_000])
    xr.Dataset({"temperature": ("x", [1.0, 2.0])}).to_netcdf(foreign)
    for path in (cut, foreign, tmp_path / "absent.nc"):
        said = call("optimize", path, "--params", "1e9", "--tokens", "1e10")
        assert said.code == 2 and str(path) in said.err.replace("\n", ""), said.err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--risk", "cvarr:0.9"), "is not a risk"),
        (("--risk", "cvar:1.5"), "out of range"),
        (("--weights", "prose"), "NAME=VALUE"),
        (("--weights", "prose=much"), "not a number"),
        (("--weights", "pros=1"), "unknown targets"),
        (("--targets", "prose", "--weights", "python=1"), "disagree"),
        (("--bounds", "web"), "not a bound"),
        (("--bounds", "wiki=0.1:0.2"), "unknown domain"),
        (("--against", "ours=absent.json"), "cannot read"),
        (("--constraints", "absent.toml"), "cannot read"),
        (("--tokens", "many"), "not a number"),
        (("--params", "-1e9"), "not a size"),
        (("--out", "/proc/nothing/optimum.json"), "cannot write"),
    ],
)
def test_a_wrong_option_of_optimize_is_exit_2(
    arguments: tuple[str, ...], match: str, posterior: Path, call: Call
) -> None:
    scale = ("--params", "1e9", "--tokens", "2e10")
    said = call("optimize", posterior, *scale, *arguments)
    assert (said.code, said.out) == (2, ""), said.err
    assert match in said.sentence


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("[1, 2]", "holds no mixture"),
        ('{"web": "much"}', "holds no mixture"),
        ('{"web": 0.4}', "sum to 1"),
        ('{"web": 0.4, "wiki": 0.6}', "unknown domains"),
        ("{", "cannot read"),
    ],
)
def test_a_wrong_mixture_file_is_exit_2(
    content: str, match: str, posterior: Path, tmp_path: Path, call: Call
) -> None:
    path = tmp_path / "ours.json"
    path.write_text(content, encoding="utf-8")
    said = call(
        "optimize", posterior, "--params", "1e9", "--tokens", "2e10", "--against", f"ours={path}"
    )
    assert said.code == 2 and match in said.sentence, said.err


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"weight.web": "weight.wiki"}, "other domains"),
        ({"params": "n_params"}, "no column params"),
        ({}, "cannot write"),
    ],
)
def test_wrong_designs_are_exit_2(
    change: dict[str, str],
    match: str,
    posterior: Path,
    designs_csv: Path,
    tmp_path: Path,
    call: Call,
) -> None:
    pd.read_csv(designs_csv).rename(columns=change).to_csv(designs_csv, index=False)
    out = tmp_path / ("predictions.xlsx" if not change else "predictions.csv")
    said = call("predict", posterior, "--designs", designs_csv, "--out", out)
    assert said.code == 2 and match in said.sentence
    assert [path.name for path in tmp_path.iterdir()] == [designs_csv.name]


def test_warnings_about_the_runs_are_sentences(tmp_path: Path, call: Call) -> None:
    frame = runs_frame()
    frame[frame["params"] == 1e8].to_csv(tmp_path / "runs.csv", index=False)
    said = call(
        "fit",
        tmp_path / "runs.csv",
        "--model",
        "chinchilla",
        "--targets",
        "prose",
        *FEW,
        "--out",
        tmp_path / "p.nc",
    )
    assert said.code == 3
    assert "warning: the runs have 1 distinct N" in said.sentence and "DataWarning" not in said.err


def test_an_internal_failure_is_one_sentence_and_exit_1(
    runs_csv: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero\nand more")

    monkeypatch.setattr("bayesmix.runs.load.load_runs", fail)
    said = call("fit", runs_csv)
    assert (
        said.code == 1
        and "ZeroDivisionError: division by zero" in said.sentence
        and "Traceback" not in said.err
    )
    assert "Traceback" in call("--debug", "fit", runs_csv).err


def test_ctrl_c_in_a_finalizer_is_heard() -> None:
    program = """
import signal
import time
from bayesmix.cli.app import interrupts_heard

class Deaf:
    def __del__(self):
        raise KeyboardInterrupt

signal.signal(signal.SIGINT, signal.default_int_handler)
with interrupts_heard():
    try:
        Deaf()
        time.sleep(30)
    except KeyboardInterrupt:
        print("heard")
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert (said.stdout, said.stderr) == ("heard\n", "")


def test_ctrl_c_is_exit_130_and_leaves_nothing(runs_csv: Path, tmp_path: Path) -> None:
    # a shell that starts the tests in the background leaves SIGINT ignored, and children inherit
    # that
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = [
        sys.executable,
        "-c",
        f"{heard}; import sys; from bayesmix.cli import main; sys.exit(main())",
    ]
    arguments = [
        "fit",
        str(runs_csv),
        "--model",
        "additive",
        "--draws",
        "200000",
        "--out",
        str(tmp_path / "p.nc"),
    ]
    with subprocess.Popen(
        [*program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert not out and "Traceback" not in err
    assert not list(tmp_path.iterdir())
