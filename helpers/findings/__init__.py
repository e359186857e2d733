"""SimCLR's findings in miniature: predict, run, and compare with the whole experiment and with the paper.

`predict(name, guess)` is for a notebook; `python -m data.findings NAME` runs the whole experiment and keeps it.
"""

from helpers.findings.catalogue import FINDINGS
from helpers.findings.core import Finding, Lab, judged, verdict
from helpers.findings.notebook import predict
