"""Make the README beside each shipped table. Run with `uv run python -m tests.benchmarks.pocket_readme`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bayesmix.design import count
from bayesmix.pocket.corpora import HELD, PLACES, SETTINGS, Corpus, load_corpus
from bayesmix.pocket.packages import packages
from bayesmix.pocket.plan import LARGEST, TOKENS, plan
from bayesmix.pocket.sizes import REACH, SIZES, WIDEN
from bayesmix.pocket.train import BATCH, COOLDOWN, RATE, WARM_UP, train
from bayesmix.runs.io import read_frame, shipped
from bayesmix.runs.load import load_runs

DATA = Path(__file__).resolve().parents[2] / "bayesmix" / "runs" / "data"
TEXT = "characters as 96 symbols of ASCII (umlauts spelt out, accents dropped, all else left out)"
PICTURE = (
    "tiles of 32 × 32 grey pixels, cut in 8 × 8 patches of 4 × 4 pixels, each replaced by the"
    " nearest of 64 found by k-means on equally many patches of every image domain; row by row"
)
SOURCES = {  # target: packages, what is taken, how it becomes symbols
    "prose": (("bible-kjv", "bible-kjv-text"), "the King James Bible without verse numbers", TEXT),
    "code": (("Django",), "every .py file, tests and translations included", TEXT),
    "speech": (
        ("asterisk-core-sounds-en-wav",),
        "prompts by one voice, 8 kHz",
        "samples as 64 levels of the mu-law",
    ),
    "image": (
        ("mate-backgrounds", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04"),
        "photographs",
        PICTURE,
    ),
    "headers": (("linux-libc-dev",), "every .h file", TEXT),
    "german": (("manpages-de",), "manual pages without troff commands", TEXT),
    "proofs": (("metamath-databases",), "set.mm without comments", TEXT),
    "dictionary": (("dict-gcide",), "the whole dictionary", TEXT),
    "photographs": (
        ("mate-backgrounds", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04"),
        "photographs",
        PICTURE,
    ),
    "glyphs": (
        ("fonts-dejavu-core", "fonts-freefont-ttf"),
        "every character of every font, 26 pixels high",
        PICTURE,
    ),
    "icons": (
        ("oxygen-icon-theme",),
        "icons of 32 to 256 pixels on white; tiles of one colour left out",
        PICTURE,
    ),
    "textures": ((), "gratings, chequers and clouds, drawn at random", PICTURE),
    "artwork": (("ukui-wallpapers",), "wallpapers", PICTURE),
}
SMALL, PART = "S0", 64  # what the error of measurement is measured with
FLAWS = {
    "": (
        (
            "Symbols are characters, samples or patches, not subwords; losses of different kinds"
            " are not comparable."
        ),
        "Context is 64 symbols, so nothing is learnt from further back.",
        (
            "Held-out blocks come from the same files as training data: the Bible, the speaker, the"
            " photographs are known."
        ),
        (
            "Points of one `train_run` share weights up to 0.8 D of the shorter one and are not"
            " independent."
        ),
        (
            "The learning rate is the same multiple of 1/width everywhere; it was not tuned for"
            " each size or mixture."
        ),
        "Depth grows with width, and with it how far back a model sees (12 symbols a block).",
        f"The largest size, {LARGEST}, was trained on a few mixtures only.",
        (
            "`cpu_seconds` is that of one thread of a virtual machine that did other work too: good"
            " to a factor of 1.5. Use `flops` to compare."
        ),
        (
            "The same seed gives the same losses to the noise of the platform: a test trains the"
            " smallest run again and allows 0.1 %. In long runs rounding grows, at worst to what"
            " another seed changes."
        ),
    ),
    "multimodal": (
        "Prose, code and headers share an alphabet; speech and image share nothing with them.",
    ),
    "language": ("The four domains share an alphabet; troff leaves traces in the German pages.",),
    "vision": (
        "Textures are made by a formula; characters that two fonts draw alike appear twice.",
    ),
}


def readme(setting: str) -> str:
    """What a reader of the table has to know."""
    name, corpus = f"pocket-{setting}", load_corpus(setting)
    runs, frame = load_runs(name), read_frame(name)
    planned = plan(setting, corpus)
    done = len({job.train_run for job in planned} & set(runs.train_run))
    used = dict.fromkeys(
        each for target in SETTINGS[setting].targets for each in SOURCES[target][0]
    )
    sizes = [size for size in SIZES.values() if size.params in set(runs.params)]
    held = dict.fromkeys(job.mixture for job in planned if job.hold_out in ("mixture", "both"))
    domains = [
        f"| {target} | {corpus.tokens[target] / 1e6:.2f}M ({share:.1%}) | {SOURCES[target][1]} | "
        f"{', '.join(SOURCES[target][0]) or 'none'} |"
        for target, share in zip(corpus.domains, corpus.natural, strict=True)
    ]
    unseen = SETTINGS[setting].unseen
    made = [
        f"* {how}: {', '.join(t for t in SETTINGS[setting].targets if SOURCES[t][2] == how)}"
        for how in dict.fromkeys(SOURCES[t][2] for t in SETTINGS[setting].targets)
    ]
    points = [
        f"| {size.name} | {size.params:,} | {size.width} × {size.depth} | "
        f"{frame[frame['size'] == size.name]['train_run'].nunique()} | "
        f"{frame[frame['size'] == size.name]['mixture'].nunique()} | "
        f"{', '.join(count(d) for d in sorted(frame[frame['size'] == size.name]['tokens'].unique()))} |"
        for size in sizes
    ]
    pinned = [
        f"| {n} | {packages()[n].version} | {packages()[n].licence} | `{packages()[n].sha256}` |"
        for n in used
    ]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"{runs}. {done} of the {len(planned)} training runs of the plan are here, trained by `bayesmix pocket` in "
            f"{_hours(frame):.1f} CPU-hours. Only measured losses are here, no corpus. Losses are nats per symbol. "
            "This page is made by `python -m tests.benchmarks.pocket_readme`.",
            "",
            "## Domains",
            "",
            "| domain | training tokens (natural share) | what | packages |",
            "|---|---:|---|---|",
            *domains,
            f"| {unseen} (target only) | – | {SOURCES[unseen][1]} | {', '.join(SOURCES[unseen][0])} |",
            "",
            f"Sequences are {PLACES} symbols after a mark of their kind. Blocks of 64 sequences stay together; one in "
            f"16 is held out, and each target is measured on the same {HELD} sequences of those ({HELD * PLACES:,} "
            f"symbols). No domain is gone through more than {_epochs(frame, corpus.tokens):.2f} times. How symbols are "
            "made:",
            "",
            *made,
            "",
            "## Models and training",
            "",
            f"Gated short convolutions: RMSNorm, causal depthwise convolution over {REACH} places with a SiLU gate, "
            f"squared-ReLU MLP of {WIDEN} times the width, vocabulary {corpus.vocabulary}. `params` counts the blocks "
            "and the last norm, neither embedding nor head; `flops` is 6·(params + width·vocabulary)·tokens. AdamW "
            f"(β 0.9, 0.98; decay 0.05; clipping at 1), {BATCH} sequences a step, rate {RATE}/width after {WARM_UP} "
            f"steps, constant, with a linear cooldown in a branch over the last {COOLDOWN:.0%} before each "
            "measured D; so every row is a run planned for its D. Domains are drawn by a scrambled Sobol sequence. "
            "`cpu_seconds` is the time of training a run of that D alone, without compiling and measuring.",
            "",
            "| size | params | width × depth | training runs | mixtures | measured after |",
            "|---|---:|---|---:|---:|---|",
            *points,
            "",
            f"Declared hold-out (column `hold_out`): `size` is the largest size, {LARGEST}, `mixture` the mixtures "
            f"{', '.join(held)}, `both` is both. Runs with another seed than 0 repeat two mixtures at two sizes.",
            "",
            "## Known flaws",
            "",
            *(f"* {flaw}" for flaw in (*FLAWS[""], *FLAWS[setting])),
            "* All runs are measured on the same held-out sequences. Their sampling error is common to all runs, "
            "shifts the level of a target and is not in the scatter, so the table has no `loss_se`. Its standard "
            f"error, from parts of {PART} sequences and one run of {SMALL}: {sampling_error(setting, corpus)}.",
            "",
            "## Packages",
            "",
            "| package | version | licence | sha256 |",
            "|---|---|---|---|",
            *pinned,
            "",
            "## Again",
            "",
            "```",
            f"bayesmix pocket corpus --setting {setting}",
            f"bayesmix pocket plan --setting {setting} --out plan.csv",
            "bayesmix pocket sweep plan.csv --out runs.jsonl",
            f"bayesmix pocket table runs.jsonl --out {name}.csv",
            "```",
            "",
        ]
    )


def sampling_error(setting: str, corpus: Corpus) -> str:
    """Standard error of the loss over held-out sequences, for each target, of a model trained for seconds."""
    held = {
        f"{target}/{first}": each[first : first + PART]
        for target, each in corpus.held_out.items()
        for first in range(0, len(each), PART)
    }
    even = np.full(len(corpus.domains), 1 / len(corpus.domains))
    (point,) = train(replace(corpus, held_out=held), SMALL, even, TOKENS[setting][:1])
    said = []
    for target in corpus.held_out:
        parts = np.array(
            [loss for name, loss in point.loss.items() if name.startswith(f"{target}/")]
        )
        said.append(f"{target} {100 * parts.std(ddof=1) / len(parts) ** 0.5 / parts.mean():.1f} %")
    return ", ".join(said)


def _hours(frame: Any) -> float:
    longest = frame.sort_values("tokens").groupby("train_run").tail(1)
    return float(longest["cpu_seconds"].sum()) / 3600


def _epochs(frame: Any, tokens: dict[str, int]) -> float:
    return max(
        (frame[f"weight.{domain}"] * frame["tokens"]).max() / stock
        for domain, stock in tokens.items()
    )


def optimum_readme(setting: str) -> str:
    """What a reader of the runs at the optimum has to know."""
    name = f"pocket-{setting}-optimum"
    frame = read_frame(name)
    return "\n".join(
        [
            f"# {name}",
            "",
            (
                f"{load_runs(name)}. The mixture that a posterior of the smaller runs of"
                f" `pocket-{setting}` recommended for {LARGEST}, and the natural and the uniform"
                f" one, each trained with {frame['seed'].nunique()} seeds that `pocket-{setting}`"
                f" does not have ({_hours(frame):.1f} CPU-hours). `docs/pocket.md` compares them"
                " with what was predicted. Corpora, model, training, columns and flaws are those"
                f" of [pocket-{setting}](pocket-{setting}.md). This page is made by `python -m"
                " tests.benchmarks.pocket_readme`."
            ),
            "",
            "## Again",
            "",
            "```",
            f"python -m tests.benchmarks.pocket --optimum {setting} --out plan.csv",
            "bayesmix pocket sweep plan.csv --out runs.jsonl",
            f"bayesmix pocket table runs.jsonl --out {name}.csv",
            "```",
            "",
        ]
    )


def main() -> None:
    """Write a README beside each table that ships."""
    for setting in SETTINGS:
        if f"pocket-{setting}" in shipped():
            (DATA / f"pocket-{setting}.md").write_text(readme(setting), encoding="utf-8")
        if f"pocket-{setting}-optimum" in shipped():
            (DATA / f"pocket-{setting}-optimum.md").write_text(
                optimum_readme(setting), encoding="utf-8"
            )


if __name__ == "__main__":
    main()
