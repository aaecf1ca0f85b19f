"""Other people's networks as transitions, which everything in `jacobian` and `analysis` takes."""

from gradflow.adapters.torch_rnn import torch_transition

__all__ = ["torch_transition"]
