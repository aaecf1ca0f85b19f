"""Other recurrent networks on the same tasks: torch's RNN, GRU and LSTM, layers of snnTorch and SpikingJelly.

`BaselineNetwork(task, hidden, cell)` trains as `RecurrentSNN` does; `hidden_for` makes two networks equal in
parameters.
"""

from gradflow.baselines.cell import Cell
from gradflow.baselines.cells import GRU, LSTM, TanhRNN
from gradflow.baselines.conventions import baseline_conventions
from gradflow.baselines.gradient import baseline_products
from gradflow.baselines.network import BaselineNetwork, BaselineRun
from gradflow.baselines.peers import SnnTorch, SpikingJelly
from gradflow.baselines.sizes import hidden_for, nearest_hidden

__all__ = [
    "GRU",
    "LSTM",
    "BaselineNetwork",
    "BaselineRun",
    "Cell",
    "SnnTorch",
    "SpikingJelly",
    "TanhRNN",
    "baseline_conventions",
    "baseline_products",
    "hidden_for",
    "nearest_hidden",
]
