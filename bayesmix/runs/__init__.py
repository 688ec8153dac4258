"""Tables of training runs: the class `Runs`, loading, writing and linting.

No other package of bayesmix uses pandas.
"""

from bayesmix.runs.io import runs_columns as runs_columns
from bayesmix.runs.io import shipped as shipped
from bayesmix.runs.io import write_table as write_table
from bayesmix.runs.lint import Finding as Finding
from bayesmix.runs.lint import LintReport as LintReport
from bayesmix.runs.lint import lint as lint
from bayesmix.runs.load import load_designs as load_designs
from bayesmix.runs.load import load_runs as load_runs
from bayesmix.runs.load import read_table as read_table
from bayesmix.runs.runs import Runs as Runs
