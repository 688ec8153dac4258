"""From runs to a posterior, and what a posterior says."""

from bayesmix.inference.backtest import Backtest as Backtest
from bayesmix.inference.backtest import backtest as backtest
from bayesmix.inference.compare import Comparison as Comparison
from bayesmix.inference.compare import compare as compare
from bayesmix.inference.diagnostics import Diagnostics as Diagnostics
from bayesmix.inference.fit import fit as fit
from bayesmix.inference.posterior import LossSurface as LossSurface
from bayesmix.inference.posterior import Posterior as Posterior
from bayesmix.inference.prediction import Prediction as Prediction
from bayesmix.inference.prior_check import PriorCheck as PriorCheck
from bayesmix.inference.prior_check import prior_check as prior_check
from bayesmix.inference.simulate import simulate as simulate
from bayesmix.inference.stack import Stack as Stack
from bayesmix.inference.stack import stack as stack
from bayesmix.inference.storage import load_any as load_any
from bayesmix.inference.storage import load_posterior as load_posterior
from bayesmix.inference.storage import save_posterior as save_posterior
from bayesmix.inference.storage import to_datatree as to_datatree
