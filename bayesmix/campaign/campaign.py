"""`Campaign`: sequential choice of runs (ask, run, tell), stored in a ledger."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bayesmix.acquisition.functions import RegretReduction
from bayesmix.acquisition.pool import Pool, checkpointed
from bayesmix.acquisition.proposal import Proposal
from bayesmix.acquisition.propose import propose
from bayesmix.campaign.config import CampaignConfig
from bayesmix.campaign.ledger import Changed, Ledger
from bayesmix.campaign.tables import designs_of, require_losses, runs_of
from bayesmix.campaign.trials import Job, State, Trial, design_key
from bayesmix.deprecation import renamed
from bayesmix.design import Design, Designs, Mixture
from bayesmix.errors import InputError, warn
from bayesmix.inference.fit import fit
from bayesmix.posterior.posterior import Posterior
from bayesmix.posterior.resample import KHAT_LIMIT, reweighted
from bayesmix.posterior.storage import load_posterior, save_posterior
from bayesmix.runs.runs import Runs, joined
from bayesmix.runtime.progress import SHOWN

ATTEMPTS = 5
SEED_PRIME = 1_000_003
"""Prime factor of the seed of a trial, seed · prime + number.

It keeps the seeds of different campaigns apart.
"""

RefitPosterior = Callable[[Posterior, Runs, int], Posterior]


@dataclass(frozen=True)
class Answer:
    """Result of `ask`: the proposal and the registered trials.

    There are no trials where the campaign should stop.
    """

    proposal: Proposal
    trials: tuple[Trial, ...]

    def as_dict(self) -> dict[str, Any]:
        """Dictionary of the jobs and the reason, ready for JSON."""
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
    """A series of runs, each chosen given the results of those before it.

    The file holds the whole state: several processes may work on it, and a killed process loses no
    recorded result. The same state and seed give the same next run.

    Args:
        ledger: the file.
    """

    ledger: Ledger

    @classmethod
    def create(cls, path: str | os.PathLike[str], spec: CampaignConfig) -> Campaign:
        """Create a campaign in a new ledger.

        Raises:
            InputError: the file exists, the posterior cannot be read or does not know a target or
                domain, or a checkpoint is not a fraction.
            InfeasibleError: no mixture is allowed at some scale.
        """
        posterior = load_posterior(spec.posterior)
        feasible = spec.feasible(posterior)
        for scale in (spec.flagship, *spec.scales):
            feasible.at(scale, posterior.domains)
        designs = spec.candidates.include or (
            Design(Mixture.uniform(posterior.domains), spec.flagship),
        )
        checkpointed(
            Designs.of(*designs).on(posterior.domains), ["given"] * len(designs), spec.checkpoints
        )
        unknown = [t for t in spec.targets or {} if t not in posterior.targets]
        if unknown:
            raise InputError(
                "the campaign names unknown targets",
                expected=f"among {list(posterior.targets)}",
                got=unknown,
            )
        absolute = replace(
            spec, posterior=os.path.abspath(spec.posterior), measured=posterior.targets
        )
        return cls(Ledger.create(path, asdict(absolute)))

    @classmethod
    def begin(cls, path: str | os.PathLike[str], spec: CampaignConfig) -> Campaign:
        """Create a campaign; deprecated name of `create`."""
        warn("Campaign.begin() is now called create()", DeprecationWarning)
        return cls.create(path, spec)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Campaign:
        """Open the campaign of an existing ledger."""
        campaign = cls(Ledger(Path(path)))
        campaign.ledger.state()
        return campaign

    @property
    def spec(self) -> CampaignConfig:
        """Settings of the campaign."""
        return CampaignConfig.from_dict(self.ledger.spec)

    @renamed(anyway="force")
    def ask(
        self, count: int = 1, *, refit: RefitPosterior | None = None, force: bool = False
    ) -> Answer:
        """Choose the next runs and register them as pending before they are returned.

        Recorded results enter by importance weights of the draws where these are valid, else by a
        new fit.

        Args:
            count: largest number of runs; fewer where the budget ends.
            refit: (posterior, all runs, seed) → posterior, used where weights are not valid; `fit`
                when not given.
            force: register the runs even where the stop rule says that they are not worth their
                cost.

        Raises:
            InputError: other processes kept changing the ledger.
        """
        spec = self.spec
        base = load_posterior(spec.posterior)
        for _ in range(ATTEMPTS):
            state = self.ledger.state()
            proposal = self._propose(spec, base, state, count, refit or self._cached_refit)
            if (proposal.stop and not force) or not len(proposal.runs):
                return Answer(proposal, ())
            jobs = [
                Job.from_pool(
                    proposal.runs,
                    i,
                    seed=(spec.seed * SEED_PRIME + state.next_number + i) % 2**31,
                    reason=proposal.reason,
                    score=float(proposal.scores[i]),
                )
                for i in range(len(proposal.runs))
            ]
            try:
                return Answer(proposal, self.ledger.ask(jobs, state.version))
            except Changed:
                continue
        raise InputError(
            "the ledger kept changing while the next run was chosen",
            expected="a pause of a few seconds",
            got=f"{ATTEMPTS} changes",
            advice="Ask again, or ask for several runs at once.",
        )

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
            trial: id of the trial.
            losses: target → loss; targets that were not measured may be missing.
            flops: actual FLOPs of the run, where they are known.
            checkpoints: tokens → losses measured before the end, whether asked for or not.

        Raises:
            InputError: the trial is unknown or has ended, a target is unknown, a number is not a
                loss, or a checkpoint is not before the end.
        """
        targets = self._measured_targets()
        on_the_way = self._on_the_way(trial, checkpoints or {})
        for measured in (losses, *on_the_way.values()):
            require_losses(measured, targets)
        if flops is not None and not (math.isfinite(flops) and flops > 0):
            raise InputError("the cost is not a number of FLOPs", expected="above 0", got=flops)
        result: dict[str, Any] = {"losses": {t: float(v) for t, v in losses.items()}}
        result |= {} if flops is None else {"actual_flops": float(flops)}
        result |= (
            {"checkpoints": {repr(tokens): dict(values) for tokens, values in on_the_way.items()}}
            if on_the_way
            else {}
        )
        return self.ledger.end(trial, "told", result)

    def _measured_targets(self) -> tuple[str, ...]:
        spec = self.spec
        # ledgers of earlier versions lack the targets
        return spec.measured or load_posterior(spec.posterior).targets

    def _on_the_way(
        self, trial: str, checkpoints: Mapping[float, Mapping[str, float]]
    ) -> dict[float, Mapping[str, float]]:
        """Checkpoints in order of tokens; each must be before the end of the run.

        Checkpoints of unknown trials pass.
        """
        if not checkpoints:
            return {}
        end = next((t.job.tokens for t in self.ledger.state().trials if t.id == trial), math.inf)
        for tokens in checkpoints:
            if not 0 < tokens < end:
                raise InputError(
                    "a checkpoint is not on the way",
                    expected=f"tokens above 0 and below {end:g}",
                    got=tokens,
                    advice="The losses at the end are told without tokens.",
                )
        return {float(tokens): checkpoints[tokens] for tokens in sorted(checkpoints)}

    @renamed(why="reason")
    def fail(self, trial: str, reason: str = "", *, abandon: bool = False) -> Trial:
        """Record that a run did not finish.

        An abandoned design is not asked for again; a failed one may be.
        """
        return self.ledger.end(trial, "abandoned" if abandon else "failed", {"why": reason})

    def runs(self) -> Runs | None:
        """Recorded results as runs; None before the first."""
        trials = self.ledger.state().of("told")
        if not trials:
            return None
        posterior = load_posterior(self.spec.posterior)
        return runs_of(trials, posterior.domains, posterior.targets)

    def spent(self) -> float:
        """FLOPs of all runs that were asked for.

        Actual FLOPs where they are recorded, else planned FLOPs times the ratio learned so far.
        """
        state = self.ledger.state()
        return state.spent(state.cost(self.spec.fixed))

    def _propose(
        self, spec: CampaignConfig, base: Posterior, state: State, count: int, refit: RefitPosterior
    ) -> Proposal:
        completed, pending = state.of("told"), state.of("pending")
        posterior, waiting = base, None
        if completed:
            posterior = _posterior_given(
                base, runs_of(completed, base.domains, base.targets), spec.seed, refit
            )
        if pending:
            designs = designs_of(pending, base.domains)
            waiting = checkpointed(designs, ["given"] * len(pending), spec.checkpoints)
        cost, feasible = state.cost(spec.fixed), spec.feasible(base)
        return propose(
            posterior,
            _without_abandoned(
                replace(spec.candidates, feasible=feasible).on(posterior, spec.seed),
                state.of("abandoned"),
            ),
            acquisition=RegretReduction(spec.flagship, spec.targets, feasible),
            cost=cost,
            budget=None if spec.budget is None else spec.budget - state.spent(cost),
            count=count,
            pending=waiting,
            seed=spec.seed + len(state.trials),
        )

    def _cached_refit(self, posterior: Posterior, runs: Runs, seed: int) -> Posterior:
        """A new fit, cached beside the ledger under the fingerprint of its runs."""
        path = self.ledger.path.with_name(f"{self.ledger.path.stem}-{runs.fingerprint[:12]}.nc")
        if not path.exists():
            save_posterior(
                fit(posterior.model, runs, seed=seed, warm_start=posterior, progress=SHOWN.get()),
                path,
            )
        return load_posterior(path)

    def as_dict(self) -> dict[str, Any]:
        """Dictionary of the settings, the trials and the cost, ready for JSON."""
        spec, state = self.spec, self.ledger.state()
        cost = state.cost(spec.fixed)
        return {
            "spec": asdict(spec),
            "trials": [t.as_dict() for t in state.trials],
            "spent": state.spent(cost),
            "cost_ratio": cost.ratio,
        }

    def __str__(self) -> str:
        spec, state = self.spec, self.ledger.state()
        spent = state.spent(state.cost(spec.fixed))
        limit = "" if spec.budget is None else f" of {spec.budget:.3g}"
        counts = ", ".join(
            f"{len(state.of(s))} {s}" for s in ("pending", "told", "failed", "abandoned")
        )
        lines = [
            f"campaign for {spec.flagship}",
            f"{len(state.trials)} trials: {counts}; {spent:.3g}{limit} FLOPs",
            "",
        ]
        for t in state.trials:
            losses = " ".join(f"{name} {value:.4f}" for name, value in t.losses.items())
            lines.append(
                f"{t.id}  {t.status:<9}  {t.job.design().scale}  {losses or t.reason}".rstrip()
            )
        return "\n".join(lines).rstrip()


def _posterior_given(base: Posterior, runs: Runs, seed: int, refit: RefitPosterior) -> Posterior:
    """Posterior given further runs: by importance weights where these are valid, else refitted."""
    posterior, khat = reweighted(base, runs, seed)
    return posterior if khat < KHAT_LIMIT else refit(base, joined(base.runs, runs), seed)


def _without_abandoned(pool: Pool, abandoned: tuple[Trial, ...]) -> Pool:
    """Pool without the runs of abandoned trials."""
    last = pool.last
    keys = {t.job.key(last.domains) for t in abandoned}
    positions = [
        i
        for i in range(len(pool))
        if design_key(last.params[i], last.tokens[i], last.mixture[i]) not in keys
    ]
    return pool.take(np.array(positions, dtype=int))
