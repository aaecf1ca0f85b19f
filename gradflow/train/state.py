"""The state of networks, optimisers and generators as named tensors and numbers, and back, bit for bit."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradflow.tasks import Split, Task
from gradflow.train.checkpoint import ForeignCheckpointError, Tensors


def model_tensors(net: nn.Module) -> Tensors:
    """Return every parameter and buffer by name; what layers share, once."""
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


@torch.no_grad()
def load_model(net: nn.Module, tensors: Tensors) -> None:
    """Put saved values into a network of the same shape.

    Raises ForeignCheckpointError for other names, shapes or dtypes.
    """
    own = model_tensors(net)
    require_same("the network", own, tensors)
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def optimiser_tensors(optimiser: torch.optim.Optimizer, net: nn.Module) -> Tensors:
    """Return the optimiser's tensors, as `parameter/kind`: `layers.0.V/exp_avg`."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in net.named_parameters()}
    return {
        f"{names[parameter]}/{kind}": value
        for parameter, kinds in optimiser.state.items()
        for kind, value in kinds.items()
        if isinstance(value, Tensor)
    }


def load_optimiser(optimiser: torch.optim.Optimizer, net: nn.Module, tensors: Tensors) -> None:
    """Put saved moments into the optimiser of a network."""
    parameters = dict(net.named_parameters())
    optimiser.state.clear()
    for key, value in tensors.items():
        name, _, kind = key.rpartition("/")
        # the count of steps stays where torch keeps it, on the CPU
        place = parameters[name].device if value.ndim else value.device
        optimiser.state[parameters[name]][kind] = value.clone().to(place)


def generator_tensors() -> tuple[Tensors, dict[str, Any]]:
    """Return the states of torch's, numpy's and Python's global generators: tensors, and what is no tensor.

    gradflow draws from none of them (its streams are named after what they are for), but a task may.
    """
    version, words, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state()  # noqa: NPY002  it is this one that is saved
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "python": torch.tensor(words, dtype=torch.int64),
    }
    numbers = {"place": int(place), "has_gauss": int(has_gauss), "cached": float(cached), "kind": str(kind)}
    return tensors, {"numpy": numbers, "python": {"version": version, "gauss": gauss}}


def load_generators(tensors: Tensors, numbers: dict[str, Any]) -> None:
    """Put the global generators back to where they were."""
    torch.set_rng_state(tensors["torch"])
    own = numbers["numpy"]
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state((own["kind"], keys, own["place"], own["has_gauss"], own["cached"]))  # noqa: NPY002
    python = numbers["python"]
    random.setstate((python["version"], tuple(tensors["python"].tolist()), python["gauss"]))


def data_tensors(task: Task) -> Tensors:
    """Return what the data are: the permutation, the sizes of the splits, and which examples each holds.

    No example is read.
    """
    sizes = torch.tensor([len(task.part(split)) for split in Split])
    found = {"sizes": sizes}
    if task.permutation is not None:
        found["permutation"] = torch.tensor(task.permutation)
    for split in Split:
        index = getattr(task.part(split), "index", None)
        if index is not None:
            found[f"index_{split.value}"] = torch.from_numpy(np.array(index, dtype=np.int64))
    return found


def require_same(what: str, own: Tensors, saved: Tensors, *, values: bool = False) -> None:
    """Raise ForeignCheckpointError unless names, shapes and dtypes (and values) are the same."""
    if own.keys() != saved.keys():
        missing, extra = sorted(own.keys() - saved.keys()), sorted(saved.keys() - own.keys())
        raise ForeignCheckpointError(
            f"the checkpoint is not of {what}: it lacks {missing or 'nothing'}, and only it has "
            f"{extra or 'nothing'}"
        )
    for name, tensor in own.items():
        other = saved[name]
        if tensor.shape != other.shape or tensor.dtype != other.dtype:
            raise ForeignCheckpointError(
                f"the checkpoint is not of {what}: {name} is {other.dtype} {tuple(other.shape)} there, "
                f"{tensor.dtype} {tuple(tensor.shape)} here"
            )
        if values and not torch.equal(tensor.cpu(), other):
            raise ForeignCheckpointError(
                f"the checkpoint is not of {what}: {name} holds other numbers; the files or the split changed"
            )
