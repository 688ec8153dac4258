"""From runs to a posterior, and what a posterior says."""

from bayesmix.inference.diagnostics import Diagnostics as Diagnostics
from bayesmix.inference.fit import fit as fit
from bayesmix.inference.posterior import Posterior as Posterior
from bayesmix.inference.posterior import Surface as Surface
from bayesmix.inference.prediction import Prediction as Prediction
from bayesmix.inference.prior_check import PriorCheck as PriorCheck
from bayesmix.inference.prior_check import prior_check as prior_check
from bayesmix.inference.simulate import simulate as simulate
from bayesmix.inference.storage import load_posterior as load_posterior
from bayesmix.inference.storage import save_posterior as save_posterior
from bayesmix.inference.storage import to_datatree as to_datatree
