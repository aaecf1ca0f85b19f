"""What a training step costs, measured beside the reference engine, other libraries and the matrix products.

Times are ratios of neighbours in interleaved rounds; seconds are context. Memory is the peak of a whole
process.
"""

from gradflow.bench.floor import Floor
from gradflow.bench.memory import peak_memory
from gradflow.bench.subjects import FLOOR, FLOOR_WHOLE, FUSED, PEERS, REFERENCE, SUBJECTS, MissingError, build
from gradflow.bench.timing import Rounds, interleave
from gradflow.bench.workload import Workload

__all__ = [
    "FLOOR",
    "FLOOR_WHOLE",
    "FUSED",
    "PEERS",
    "REFERENCE",
    "SUBJECTS",
    "Floor",
    "MissingError",
    "Rounds",
    "Workload",
    "build",
    "interleave",
    "peak_memory",
]
