"""Report on one page: the mixture, its uncertainty and the next run, with the evidence."""

from bayesmix.report.content import Report as Report
from bayesmix.report.content import make_report as make_report
from bayesmix.report.page import write_report as write_report
