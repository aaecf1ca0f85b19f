"""The inner loops that a compiler does not find by itself, as LLVM vector code for numba kernels.

Matrices have a whole number of tiles of columns (`tile_columns`; the caller pads with zeros), so a tile of
the result stays in registers over the whole inner loop. float32 and float64; vectors as wide as the
machine's. All operands are byte addresses (an array handed to a function would be counted up and down at
every call); `like` is a number of their dtype, strides count elements, indices are uint32.
"""

from contextlib import contextmanager
from functools import lru_cache
from typing import no_type_check

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ROWS = 4
"""Rows of one tile of `multiply_rows`."""
VECTORS = 4
"""Vectors of one row of a tile: with ROWS, half of the 32 registers of AVX-512."""
MASK_BITS = 64
"""Neurons of one word of spikes."""
CONTRACT = ("contract",)
"""A product and a sum may be rounded once: fused multiply-add."""


@lru_cache(maxsize=1)
def vector_bytes() -> int:
    """Return the width in bytes of the machine's widest vectors that are worth using."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16


def tile_columns(itemsize: int) -> int:
    """Return how many columns a tile has, for numbers of this size in bytes."""
    return VECTORS * vector_bytes() // itemsize


@no_type_check
def load_vector(builder, scalar, lanes, pointer):
    """Load `lanes` numbers from an address that is aligned to one of them."""
    size = 4 if isinstance(scalar, ir.FloatType) else 8
    return builder.load(builder.bitcast(pointer, ir.VectorType(scalar, lanes).as_pointer()), align=size)


@no_type_check
def splat(builder, value, lanes):
    """Return a vector of equal lanes."""
    vector = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


@no_type_check
def _pointer(builder, kind, address):
    return builder.inttoptr(address, kind.as_pointer())


class _Tile:
    """Accumulators rows × VECTORS, which the optimiser keeps in registers."""

    @no_type_check
    def __init__(self, context, builder, scalar_type, rows):
        self.builder, self.rows = builder, rows
        self.scalar = context.get_data_type(scalar_type)
        self.size = scalar_type.bitwidth // 8
        self.lanes = vector_bytes() // self.size
        zero = ir.Constant(ir.VectorType(self.scalar, self.lanes), None)
        self.cells = [cgutils.alloca_once(builder, zero.type) for _ in range(rows * VECTORS)]
        for cell in self.cells:
            builder.store(zero, cell)

    @no_type_check
    def at(self, address):
        """Return an address as a pointer to numbers."""
        return _pointer(self.builder, self.scalar, address)

    @no_type_check
    def vectors(self, pointer):
        """Load the line of a tile that begins at `pointer`."""
        places = [self.builder.gep(pointer, [ir.IntType(64)(v * self.lanes)]) for v in range(VECTORS)]
        return [load_vector(self.builder, self.scalar, self.lanes, place) for place in places]

    @no_type_check
    def factor(self, pointer):
        """Load one number and repeat it in all lanes."""
        return splat(self.builder, self.builder.load(pointer), self.lanes)

    @no_type_check
    def add(self, m, line, factor=None):
        """Add a line, or factor · line, to row m."""
        builder = self.builder
        for v, value in enumerate(line):
            cell = self.cells[m * VECTORS + v]
            if factor is not None:
                value = builder.fmul(factor, value, flags=CONTRACT)
            builder.store(builder.fadd(builder.load(cell), value, flags=CONTRACT), cell)

    @no_type_check
    def put(self, line, pointer):
        """Store a line at `pointer`."""
        for v, value in enumerate(line):
            place = self.builder.gep(pointer, [ir.IntType(64)(v * self.lanes)])
            self.builder.store(value, self.builder.bitcast(place, value.type.as_pointer()), align=self.size)

    @no_type_check
    def write(self, m, pointer):
        """Store row m at `pointer`."""
        self.put([self.builder.load(cell) for cell in self.cells[m * VECTORS : (m + 1) * VECTORS]], pointer)


@no_type_check
def _indexed(builder, address, k):
    """Return element k of a list of uint32 as a 64-bit integer."""
    index = builder.load(builder.gep(_pointer(builder, ir.IntType(32), address), [k]))
    return builder.zext(index, ir.IntType(64))


@no_type_check
def _void(like, count):
    """Return the signature of `like` and `count` integers."""
    return types.void(like, *[types.intp] * count)


@intrinsic
@no_type_check
def multiply_rows(typingctx, like, a0, a1, a2, a3, matrix, stride, depth, o0, o1, o2, o3):
    """Set o_m[c] = Σ_{i < depth} a_m[i] · matrix[i stride + c] for rows m = 0 … 3 and c in a tile.

    Rows may coincide. Cost: 2 · 4 · tile · depth operations.
    """

    @no_type_check
    def codegen(context, builder, sig, args):
        tile = _Tile(context, builder, sig.args[0], ROWS)
        rows, matrix, ends = (
            [tile.at(a) for a in args[1:5]],
            tile.at(args[5]),
            [tile.at(a) for a in args[8:12]],
        )
        with cgutils.for_range(builder, args[7]) as loop:
            line = tile.vectors(builder.gep(matrix, [builder.mul(loop.index, args[6])]))
            for m in range(ROWS):
                tile.add(m, line, tile.factor(builder.gep(rows[m], [loop.index])))
        for m in range(ROWS):
            tile.write(m, ends[m])
        return context.get_dummy_value()

    return _void(like, 11), codegen


@intrinsic
@no_type_check
def sum_rows(typingctx, like, matrix, stride, index, count, out):
    """Set out[c] = Σ_{k < count} matrix[index[k] stride + c] for c in a tile."""

    @no_type_check
    def codegen(context, builder, sig, args):
        tile = _Tile(context, builder, sig.args[0], 1)
        matrix = tile.at(args[1])
        with cgutils.for_range(builder, args[4]) as loop:
            start = builder.mul(_indexed(builder, args[3], loop.index), args[2])
            tile.add(0, tile.vectors(builder.gep(matrix, [start])))
        tile.write(0, tile.at(args[5]))
        return context.get_dummy_value()

    return _void(like, 5), codegen


@intrinsic
@no_type_check
def mix_rows(typingctx, like, source, offset, weight, count, out):
    """Set out[c] = Σ_{k < count} weight[k] · source[offset[k] + c] for c in a tile; offsets are int64."""

    @no_type_check
    def codegen(context, builder, sig, args):
        tile = _Tile(context, builder, sig.args[0], 1)
        source, weights = tile.at(args[1]), tile.at(args[3])
        offsets = _pointer(builder, ir.IntType(64), args[2])
        with cgutils.for_range(builder, args[4]) as loop:
            line = tile.vectors(builder.gep(source, [builder.load(builder.gep(offsets, [loop.index]))]))
            tile.add(0, line, tile.factor(builder.gep(weights, [loop.index])))
        tile.write(0, tile.at(args[5]))
        return context.get_dummy_value()

    return _void(like, 5), codegen


@intrinsic
@no_type_check
def scatter_row(typingctx, like, source, index, count, out, stride):
    """Add source[c] to out[index[k] stride + c] for k < count and c in a tile."""

    @no_type_check
    def codegen(context, builder, sig, args):
        tile = _Tile(context, builder, sig.args[0], 1)
        line, out = tile.vectors(tile.at(args[1])), tile.at(args[4])
        with cgutils.for_range(builder, args[3]) as loop:
            place = builder.gep(out, [builder.mul(_indexed(builder, args[2], loop.index), args[5])])
            sums = [builder.fadd(a, b) for a, b in zip(tile.vectors(place), line, strict=True)]
            tile.put(sums, place)
        return context.get_dummy_value()

    return _void(like, 5), codegen


@intrinsic
@no_type_check
def correlate_rows(typingctx, like, left, source, offset, count, out, stride):
    """Add left[c] · source[offset[k] + c] to out[k stride + c] for k < count and c in a tile."""

    @no_type_check
    def codegen(context, builder, sig, args):
        tile = _Tile(context, builder, sig.args[0], 1)
        left, source, out = tile.vectors(tile.at(args[1])), tile.at(args[2]), tile.at(args[5])
        offsets = _pointer(builder, ir.IntType(64), args[3])
        with cgutils.for_range(builder, args[4]) as loop:
            right = tile.vectors(builder.gep(source, [builder.load(builder.gep(offsets, [loop.index]))]))
            place = builder.gep(out, [builder.mul(loop.index, args[6])])
            products = [builder.fmul(a, b, flags=CONTRACT) for a, b in zip(left, right, strict=True)]
            sums = [
                builder.fadd(a, b, flags=CONTRACT) for a, b in zip(tile.vectors(place), products, strict=True)
            ]
            tile.put(sums, place)
        return context.get_dummy_value()

    return _void(like, 6), codegen


@contextmanager
@no_type_check
def _while_set(builder, cell):
    """Repeat what is built inside while the integer in `cell` is not 0."""
    test, body, end = (builder.append_basic_block(name) for name in ("test", "body", "end"))
    builder.branch(test)
    builder.position_at_end(test)
    value = builder.load(cell)
    builder.cbranch(builder.icmp_unsigned("!=", value, value.type(0)), body, end)
    builder.position_at_end(body)
    yield
    builder.branch(test)
    builder.position_at_end(end)


@intrinsic
@no_type_check
def list_spikes(typingctx, like, u, threshold, neurons, index):
    """Write the neurons with u[j] − threshold[j] ≥ 0 to `index`, in increasing order; return how many.

    64 potentials become the bits of a mask, whose set bits are then visited. `neurons` is a multiple of 64.
    """

    @no_type_check
    def codegen(context, builder, sig, args):
        scalar, word = context.get_data_type(sig.args[0]), ir.IntType(64)
        potentials, levels = _pointer(builder, scalar, args[1]), _pointer(builder, scalar, args[2])
        index = _pointer(builder, ir.IntType(32), args[4])
        count = cgutils.alloca_once_value(builder, word(0))
        with cgutils.for_range_slice(builder, word(0), args[3], word(MASK_BITS)) as (first, _):
            over = builder.fsub(
                load_vector(builder, scalar, MASK_BITS, builder.gep(potentials, [first])),
                load_vector(builder, scalar, MASK_BITS, builder.gep(levels, [first])),
            )
            fired = builder.fcmp_ordered(">=", over, ir.Constant(over.type, None))
            mask = cgutils.alloca_once_value(builder, builder.bitcast(fired, word))
            with _while_set(builder, mask):
                bits, place = builder.load(mask), builder.load(count)
                neuron = builder.add(first, builder.cttz(bits, ir.IntType(1)(1)))
                builder.store(builder.trunc(neuron, ir.IntType(32)), builder.gep(index, [place]))
                builder.store(builder.add(place, word(1)), count)
                builder.store(builder.and_(bits, builder.sub(bits, word(1))), mask)
        return builder.load(count)

    return types.intp(like, *[types.intp] * 4), codegen
