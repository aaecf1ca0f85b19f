"""What a saved file says: numbers for each layer, and warnings; for the command line, reports and notebooks.

Above analysis and theory, which know arrays only: here one dataset of one kind is read as a whole.
"""

from gradflow.findings.findings import KINDS, Findings, findings
from gradflow.findings.sources import Source, read_source

__all__ = ["KINDS", "Findings", "Source", "findings", "read_source"]
