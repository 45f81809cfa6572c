"""What a run tells: the report of an evaluation, the record of a fit, and the statistics under them."""

from nlptl.report.record import Record
from nlptl.report.report import Report, make_report
from nlptl.report.statistics import Bootstrap, Interval, bootstrap, intervals

__all__ = ["Bootstrap", "Interval", "Record", "Report", "bootstrap", "intervals", "make_report"]
