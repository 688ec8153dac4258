"""One page that says which mixture, how sure that is, and what to do next, with the evidence below it."""

from bayesmix.report.content import Report as Report
from bayesmix.report.content import make_report as make_report
from bayesmix.report.page import write_report as write_report
