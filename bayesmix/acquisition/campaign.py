"""`Campaign`: ask for a run, make it, tell its losses, ask again; the ledger remembers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bayesmix.acquisition.candidates import Candidates, candidates
from bayesmix.acquisition.cost import Cost
from bayesmix.acquisition.criteria import RegretReduction
from bayesmix.acquisition.ledger import Changed, Ledger, State, Trial
from bayesmix.acquisition.pool import checkpointed
from bayesmix.acquisition.proposal import Proposal, job
from bayesmix.acquisition.propose import propose
from bayesmix.decision.feasible import FeasibleSet
from bayesmix.deprecation import renamed
from bayesmix.design import Design, Designs, Mixture, Scale
from bayesmix.errors import InputError
from bayesmix.inference.fit import fit
from bayesmix.inference.posterior import Posterior
from bayesmix.inference.reweight import KHAT, reweighted
from bayesmix.inference.storage import load_posterior, save_posterior
from bayesmix.progress import SHOWN
from bayesmix.runs.table import Runs

ATTEMPTS = 5
SEEDS = 1_000_003
"""A prime: the seed of a trial is seed · prime + number, so that no two trials of two campaigns share one soon."""

RefitPosterior = Callable[[Posterior, Runs, int], Posterior]


@dataclass(frozen=True)
class CampaignConfig:
    """What a campaign is about.

    Attributes:
        posterior: path of the posterior that it starts from.
        flagship: the scale the mixture is chosen for.
        scales: sizes a run may have.
        targets: target → weight; equal weights when None.
        constraints: what `FeasibleSet.from_dict` reads.
        count: how many space-filling mixtures are candidates, each at every scale.
        budget: FLOPs for all the runs together; None for no limit.
        fixed: FLOPs that every run costs besides its training.
        checkpoints: fractions of a run's tokens at which it is measured besides its end.
        include: further candidates, as (weights, params, tokens).
        seed: of the campaign.
    """

    posterior: str
    flagship: Scale
    scales: tuple[Scale, ...]
    targets: Mapping[str, float] | None = None
    constraints: Mapping[str, Any] = field(default_factory=dict)
    count: int = 64
    budget: float | None = None
    fixed: float = 0.0
    checkpoints: tuple[float, ...] = ()
    include: tuple[tuple[Mapping[str, float], float, float], ...] = ()
    seed: int = 0

    @property
    def candidates(self) -> Candidates:
        """The recipe of the runs to choose from, without constraints."""
        designs = [Design(Mixture(weights), Scale(params, tokens)) for weights, params, tokens in self.include]
        return candidates(
            None, self.scales, self.count, checkpoints=self.checkpoints, include=designs, flagship=self.flagship
        )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> CampaignConfig:
        """What `asdict` gave."""
        values = dict(stored)
        values["flagship"] = Scale(**values["flagship"])
        values["scales"] = tuple(Scale(**s) for s in values["scales"])
        values |= {key: tuple(values.get(key, ())) for key in ("checkpoints", "include")}
        return cls(**values)


@dataclass(frozen=True)
class Answer:
    """What `ask` gives: the proposal and the trials that were registered, none where the campaign should stop."""

    proposal: Proposal
    trials: tuple[Trial, ...]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: the jobs, and why."""
        return {
            "jobs": [t.as_dict() for t in self.trials],
            "stop": self.proposal.stop,
            "reason": self.proposal.reason,
            "proposal": self.proposal.as_dict(),
        }

    def __str__(self) -> str:
        ids = ", ".join(t.id for t in self.trials)
        return f"{self.proposal}" + (f"\n\nasked for {ids}" if ids else "\n\nasked for nothing")


@dataclass(frozen=True)
class Campaign:
    """A series of runs, each chosen in the light of those before it.

    The state is the file: several processes may work on it, and one that is killed loses nothing that it was told.
    The same state and seed give the same next run.

    Args:
        ledger: the file.
    """

    ledger: Ledger

    @classmethod
    def begin(cls, path: str | os.PathLike[str], spec: CampaignConfig) -> Campaign:
        """Make a new ledger.

        Raises:
            InputError: the file exists, the posterior cannot be read or does not know a target or domain, or a
                checkpoint is no fraction.
            InfeasibleError: no mixture is allowed at some scale.
        """
        posterior = load_posterior(spec.posterior)
        feasible = _within(spec, posterior)
        for scale in (spec.flagship, *spec.scales):
            feasible.at(scale, posterior.domains)
        designs = spec.candidates.include or (Design(Mixture.uniform(posterior.domains), spec.flagship),)
        checkpointed(Designs.of(*designs).on(posterior.domains), ["given"] * len(designs), spec.checkpoints)
        unknown = [t for t in spec.targets or {} if t not in posterior.targets]
        if unknown:
            raise InputError(
                "the campaign names unknown targets", expected=f"among {list(posterior.targets)}", got=unknown,
                advice="Correct the names.",
            )  # fmt: skip
        absolute = replace(spec, posterior=os.path.abspath(spec.posterior))
        return cls(Ledger.create(path, asdict(absolute)))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Campaign:
        """Continue in an existing ledger."""
        campaign = cls(Ledger(Path(path)))
        campaign.ledger.state()
        return campaign

    @property
    def spec(self) -> CampaignConfig:
        """What it is about."""
        return CampaignConfig.from_dict(self.ledger.spec)

    @renamed(anyway="force")
    def ask(self, count: int = 1, *, refit: RefitPosterior | None = None, force: bool = False) -> Answer:
        """Choose the next runs and register them as pending before they are returned.

        What was told is taken into account: by weighting the draws where that is valid, else by a new fit.

        Args:
            count: at most so many runs; fewer where the budget ends.
            refit: (posterior, all runs, seed) → posterior, used where weights are not valid; `fit` when not given.
            force: register the runs even where the stop rule says that they are not worth their cost.

        Raises:
            InputError: other processes kept writing all the while.
        """
        spec = self.spec
        base = load_posterior(spec.posterior)
        for _ in range(ATTEMPTS):
            state = self.ledger.state()
            proposal = self._propose(spec, base, state, count, refit or self._fitted)
            if (proposal.stop and not force) or not len(proposal.runs):
                return Answer(proposal, ())
            last = proposal.runs.last
            jobs = [
                job(last.domains, last.mixture[i], last[i].scale)
                | {
                    "seed": lambda number: (spec.seed * SEEDS + number) % 2**31,
                    "reason": proposal.reason,
                    "score": float(proposal.scores[i]),
                    "checkpoints": [float(f * last.tokens[i]) for f in spec.checkpoints if f < 1],
                }
                for i in range(len(proposal.runs))
            ]
            try:
                return Answer(proposal, self.ledger.ask(jobs, state.version))
            except Changed:
                continue
        raise InputError(
            "the ledger kept changing while the next run was chosen", expected="a pause of a few seconds",
            got=f"{ATTEMPTS} changes", advice="Ask again, or ask for several runs at once.",
        )  # fmt: skip

    def tell(
        self,
        trial: str,
        losses: Mapping[str, float],
        flops: float | None = None,
        *,
        checkpoints: Mapping[float, Mapping[str, float]] | None = None,
    ) -> Trial:
        """Record the losses of a run that has ended, once.

        Args:
            trial: its id.
            losses: target → loss; targets that were not measured may be missing.
            flops: what it really cost, where that is known.
            checkpoints: tokens → losses that were measured on the way, whether asked for or not.

        Raises:
            InputError: the trial is unknown or has ended, a target is unknown, a number is no loss, or a checkpoint
                is not before the end.
        """
        targets = load_posterior(self.spec.posterior).targets
        on_the_way = self._on_the_way(trial, checkpoints or {})
        for measured in (losses, *on_the_way.values()):
            _require_losses(measured, targets)
        if flops is not None and not (math.isfinite(flops) and flops > 0):
            raise InputError("the cost is not a number of FLOPs", expected="above 0", got=flops, advice="Correct it.")
        result: dict[str, Any] = {"losses": {t: float(v) for t, v in losses.items()}}
        result |= {} if flops is None else {"actual_flops": float(flops)}
        result |= (
            {"checkpoints": {repr(tokens): dict(values) for tokens, values in on_the_way.items()}} if on_the_way else {}
        )
        return self.ledger.end(trial, "told", result)

    def _on_the_way(
        self, trial: str, checkpoints: Mapping[float, Mapping[str, float]]
    ) -> dict[float, Mapping[str, float]]:
        """Checkpoints in order, refused where they are not before the end of the run; unknown trials pass."""
        if not checkpoints:
            return {}
        end = next((t.job["tokens"] for t in self.ledger.state().trials if t.id == trial), math.inf)
        for tokens in checkpoints:
            if not 0 < tokens < end:
                raise InputError(
                    "a checkpoint is not on the way", expected=f"tokens above 0 and below {end:g}", got=tokens,
                    advice="The losses at the end are told without tokens.",
                )  # fmt: skip
        return {float(tokens): checkpoints[tokens] for tokens in sorted(checkpoints)}

    @renamed(why="reason")
    def fail(self, trial: str, reason: str = "", *, abandon: bool = False) -> Trial:
        """Record that a run did not finish; an abandoned design is not asked for again, a failed one may be."""
        return self.ledger.end(trial, "abandoned" if abandon else "failed", {"why": reason})

    def runs(self) -> Runs | None:
        """What has been told, as runs; None before the first."""
        trials = self.ledger.state().of("told")
        return _runs(trials, load_posterior(self.spec.posterior)) if trials else None

    def spent(self) -> float:
        """FLOPs of all runs that were asked for: actual where told, else planned times the ratio learned so far."""
        spec = self.spec
        return _spent(self.ledger.state().trials, _cost(spec, self.ledger.state()))

    def _propose(
        self, spec: CampaignConfig, base: Posterior, state: State, count: int, refit: RefitPosterior
    ) -> Proposal:
        completed = state.of("told")
        posterior = _updated(base, _runs(completed, base), spec.seed, refit) if completed else base
        cost = _cost(spec, state)
        remaining = None if spec.budget is None else spec.budget - _spent(state.trials, cost)
        waiting = state.of("pending")
        pool = replace(spec.candidates, feasible=_within(spec, base)).on(posterior, spec.seed)
        abandoned = {_key(t.job, base.domains) for t in state.of("abandoned")}
        last = pool.last
        keep = [i for i in range(len(pool)) if _row(last.params[i], last.tokens[i], last.mixture[i]) not in abandoned]
        return propose(
            posterior,
            pool.take(np.array(keep, dtype=int)),
            acquisition=RegretReduction(spec.flagship, spec.targets, _within(spec, base)),
            cost=cost,
            budget=remaining,
            count=count,
            pending=checkpointed(_designs(waiting, base), ["given"] * len(waiting), spec.checkpoints)
            if waiting
            else None,
            seed=spec.seed + len(state.trials),
        )

    def _fitted(self, posterior: Posterior, runs: Runs, seed: int) -> Posterior:
        """A new fit, kept beside the ledger under the fingerprint of its runs, so that it is made once."""
        path = self.ledger.path.with_name(f"{self.ledger.path.stem}-{runs.fingerprint[:12]}.nc")
        if not path.exists():
            save_posterior(fit(posterior.model, runs, seed=seed, warm_start=posterior, progress=SHOWN.get()), path)
        return load_posterior(path)

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        spec, state = self.spec, self.ledger.state()
        return {
            "spec": asdict(spec),
            "trials": [t.as_dict() for t in state.trials],
            "spent": _spent(state.trials, _cost(spec, state)),
            "cost_ratio": _cost(spec, state).ratio,
        }

    def __str__(self) -> str:
        spec, state = self.spec, self.ledger.state()
        spent = _spent(state.trials, _cost(spec, state))
        limit = "" if spec.budget is None else f" of {spec.budget:.3g}"
        counts = ", ".join(f"{len(state.of(s))} {s}" for s in ("pending", "told", "failed", "abandoned"))
        lines = [f"campaign for {spec.flagship}", f"{len(state.trials)} trials: {counts}; {spent:.3g}{limit} FLOPs", ""]
        for t in state.trials:
            losses = " ".join(f"{name} {value:.4f}" for name, value in t.result.get("losses", {}).items())
            design = _design(t.job)
            lines.append(f"{t.id}  {t.status:<9}  {design.scale}  {losses or t.result.get('why', '')}".rstrip())
        return "\n".join(lines).rstrip()


def _within(spec: CampaignConfig, posterior: Posterior) -> FeasibleSet:
    return FeasibleSet.from_dict(spec.constraints, natural=posterior.natural, runs=posterior.designs)


def _cost(spec: CampaignConfig, state: State) -> Cost:
    trials = [t for t in state.of("told") if "actual_flops" in t.result]
    cost = Cost(spec.fixed)
    if not trials:
        return cost
    return cost.learned(
        np.array([t.job["flops"] for t in trials]), np.array([t.result["actual_flops"] for t in trials])
    )


def _spent(trials: tuple[Trial, ...], cost: Cost) -> float:
    return float(sum(cost.fixed + t.result.get("actual_flops", cost.ratio * t.job["flops"]) for t in trials))


def _design(job: Mapping[str, Any]) -> Design:
    return Design(Mixture(job["mixture"]), Scale(job["params"], job["tokens"]))


def _designs(trials: tuple[Trial, ...], posterior: Posterior) -> Designs:
    stack = Designs.of(*(_design(t.job) for t in trials)).on(posterior.domains)
    return replace(stack, ids=tuple(t.id for t in trials))


def _key(job: Mapping[str, Any], domains: tuple[str, ...]) -> tuple[float, ...]:
    return _row(job["params"], job["tokens"], np.array([job["mixture"][d] for d in domains]))


def _row(params: float, tokens: float, weights: np.ndarray) -> tuple[float, ...]:
    return (float(params), float(tokens), *weights.round(9).tolist())


def _runs(trials: tuple[Trial, ...], posterior: Posterior) -> Runs:
    """A row for the end of every run and for each of its checkpoints."""
    rows = [
        (trial, replace(_design(trial.job), scale=Scale(trial.job["params"], tokens)), losses)
        for trial in trials
        for tokens, losses in [
            *sorted((float(key), values) for key, values in trial.result.get("checkpoints", {}).items()),
            (trial.job["tokens"], trial.result["losses"]),
        ]
    ]
    ids = [t.id if d.scale.tokens == t.job["tokens"] else f"{t.id}-{d.scale.tokens:g}" for t, d, _ in rows]
    designs = replace(Designs.of(*(d for _, d, _ in rows)).on(posterior.domains), ids=tuple(ids))
    loss = np.array([[losses.get(name, np.nan) for name in posterior.targets] for *_, losses in rows])
    seeds = tuple(str(t.job["seed"]) for t, *_ in rows)
    return Runs(designs, posterior.targets, loss, tuple(t.id for t, *_ in rows), seeds)


def _updated(base: Posterior, runs: Runs, seed: int, refit: RefitPosterior) -> Posterior:
    """The posterior after what was told: the draws weighted where that is valid, else fitted again."""
    posterior, khat = reweighted(base, runs, seed)
    return posterior if khat < KHAT else refit(base, joined(base.runs, runs), seed)


def joined(first: Runs, second: Runs) -> Runs:
    """The rows of both tables; domains and targets are matched by name.

    Raises:
        InputError: the tables differ in domains or targets, or share a run id.
    """
    theirs, matched = second.designs.on(first.domains), second.only(first.targets)
    assert first.loss_se is not None and matched.loss_se is not None
    assert first.planned is not None and matched.planned is not None
    designs = Designs(
        first.domains,
        np.vstack([first.mixture, theirs.mixture]),
        np.append(first.params, theirs.params),
        np.append(first.tokens, theirs.tokens),
        first.designs.ids + theirs.ids,
    )
    seeds = [runs.seed or ("",) * len(runs) for runs in (first, second)]
    return Runs(
        designs,
        first.targets,
        np.vstack([first.loss, matched.loss]),
        first.train_run + second.train_run,
        seeds[0] + seeds[1] if any(runs.seed for runs in (first, second)) else (),
        np.vstack([first.loss_se, matched.loss_se]),
        np.append(first.planned, matched.planned) if first.unusual or matched.unusual else None,
    )


def _require_losses(losses: Mapping[str, float], targets: tuple[str, ...]) -> None:
    unknown = [t for t in losses if t not in targets]
    if unknown or not losses:
        raise InputError(
            "the losses name no targets" if not losses else "the losses name unknown targets",
            expected=f"losses of targets among {list(targets)}", got=unknown or "none",
            advice="Give at least one; those not measured may be missing.",
        )  # fmt: skip
    for target, value in losses.items():
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            raise InputError(
                f"the loss of {target} is not a loss", expected="a finite number above 0", got=value,
                advice="Leave out what was not measured; use `fail` for a run that diverged.",
            )  # fmt: skip
