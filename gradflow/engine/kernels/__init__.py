"""Compiled kernels of the fused engine.

Every kernel takes a range of samples, releases the interpreter lock, and writes only what belongs to these
samples or to its own thread's accumulators, so that ranges run in threads. The neuron axis H is a multiple
of 64 (the engine pads it). Arrays are C-contiguous; rows are addressed in bytes, and what addresses point to
is owned by the caller (scratch too), so that nothing is freed early.

The spikes of a step are found again from its potentials as 64-bit masks; a product with V then adds only the
rows of Vᵀ of the neurons that fired, unless so many did that the dense product is faster.

vector.py     tiles of matrix products, sums and mixtures of rows, in registers
rows.py       formulas over rows, written in plain arithmetic
neuron.py     the neuron model in such formulas
forward.py, backward.py, currents.py      the passes
"""
