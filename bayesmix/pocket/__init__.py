"""Training of tiny models on data mixtures, on a CPU; the source of the runs in the package."""

from bayesmix.pocket.corpora import SETTINGS as SETTINGS
from bayesmix.pocket.corpora import Corpus as Corpus
from bayesmix.pocket.corpora import load_corpus as load_corpus
from bayesmix.pocket.plan import TrainingJob as TrainingJob
from bayesmix.pocket.plan import plan as plan
from bayesmix.pocket.plan import read_plan as read_plan
from bayesmix.pocket.plan import write_plan as write_plan
from bayesmix.pocket.sizes import SIZES as SIZES
from bayesmix.pocket.sweep import sweep as sweep
from bayesmix.pocket.sweep import write_runs as write_runs
