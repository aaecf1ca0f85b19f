"""Formulas over rows of neurons, in plain arithmetic, compiled to the machine's widest vectors.

`row_formula` turns a Python function of vectors into a numba intrinsic: the function is called once, while a
kernel is compiled, with values that record what is done to them. numba leaves such loops scalar (its arrays
might overlap), and they take five times as long.
"""

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gradflow.engine.kernels.vector import CONTRACT, load_vector, splat, vector_bytes


class Value:
    """One vector of numbers during compilation; operators emit the instruction."""

    @no_type_check
    def __init__(self, builder, value):
        self.builder, self.value = builder, value

    @no_type_check
    def _lift(self, other):
        if isinstance(other, Value):
            return other.value
        return ir.Constant(self.value.type, [float(other)] * self.value.type.count)

    @no_type_check
    def _with(self, name, left, right):
        # not contracted: rounded operation by operation, as the reference engine does
        return Value(self.builder, getattr(self.builder, name)(left, right))

    @no_type_check
    def __add__(self, other):
        return self._with("fadd", self.value, self._lift(other))

    @no_type_check
    def __sub__(self, other):
        return self._with("fsub", self.value, self._lift(other))

    @no_type_check
    def __rsub__(self, other):
        return self._with("fsub", self._lift(other), self.value)

    @no_type_check
    def __mul__(self, other):
        return self._with("fmul", self.value, self._lift(other))

    @no_type_check
    def __neg__(self):
        return 0.0 - self

    __radd__, __rmul__ = __add__, __mul__

    @no_type_check
    def chosen(self, comparison, other, then, otherwise):
        """Return `then` where self compares to `other`, else `otherwise` (numbers or values)."""
        test = self.builder.fcmp_ordered(comparison, self.value, self._lift(other))
        return Value(self.builder, self.builder.select(test, self._lift(then), self._lift(otherwise)))

    @no_type_check
    def absolute(self):
        """Return the magnitude."""
        return self.chosen("<", 0.0, -self, self)

    @no_type_check
    def widened(self):
        """Return the same numbers in float64."""
        wide = ir.VectorType(ir.DoubleType(), self.value.type.count)
        same = self.value.type.element == ir.DoubleType()
        return self if same else Value(self.builder, self.builder.fpext(self.value, wide))


@no_type_check
def row_formula(reads: tuple[str, ...], writes: tuple[str, ...], numbers: tuple[str, ...] = ()) -> Callable:
    """Return a decorator: a function of vectors → the intrinsic f(like, inputs, numbers, outputs, size).

    The function takes the vectors of `reads` and the scalars of `numbers` by position and returns those of
    `writes`. In a kernel, `inputs` and `outputs` are tuples of the byte addresses at which the rows begin
    (arrays in a tuple would be counted up and down at every call), `like` is a number of their dtype, and
    `numbers` are of it too. All vectors are read before one is written.
    """

    @no_type_check
    def decorate(body):
        @intrinsic
        @no_type_check
        def formula(typingctx, like, inputs, scalars, outputs, size):
            dtype = like

            @no_type_check
            def codegen(context, builder, sig, args):
                scalar, lanes = context.get_data_type(dtype), vector_bytes() // (dtype.bitwidth // 8)
                rows = _Rows(builder, scalar, lanes, args[1], len(reads))
                to = [_place(builder, scalar, args[3], k) for k in range(len(writes))]
                given = [
                    Value(builder, splat(builder, builder.extract_value(args[2], k), lanes))
                    for k in range(len(numbers))
                ]
                with rows.each(builder, args[4]) as (j, line):
                    for pointer, result in zip(to, body(*line, *given), strict=True):
                        place = builder.bitcast(builder.gep(pointer, [j]), result.value.type.as_pointer())
                        builder.store(result.value, place, align=dtype.bitwidth // 8)
                return context.get_dummy_value()

            return types.void(like, inputs, scalars, outputs, types.intp), codegen

        return formula

    return decorate


@no_type_check
def row_totals(reads: tuple[str, ...], squares: int, counts: int, numbers: tuple[str, ...] = ()) -> Callable:
    """Return a decorator: a function of vectors → the intrinsic f(like, inputs, numbers, out, size).

    Of the vectors that the function returns, out[k] gets the sum over the row of the squares of the first
    `squares`, multiplied and added in float64, where no square of a float32 underflows, and the sum of the
    `counts` others, zeros and ones. `out` is the address of float64 numbers.
    """

    @no_type_check
    def decorate(body):
        @no_type_check
        def loop(builder, rows, given, target, size):
            lanes = rows.lanes
            wide, own = ir.VectorType(ir.DoubleType(), lanes), ir.VectorType(rows.scalar, lanes)
            totals = [
                cgutils.alloca_once(builder, wide if k < squares else own) for k in range(squares + counts)
            ]
            for total in totals:
                builder.store(ir.Constant(total.type.pointee, None), total)
            with rows.each(builder, size) as (_, line):
                for k, (total, result) in enumerate(zip(totals, body(*line, *given), strict=True)):
                    held, value = builder.load(total), result.value
                    if k < squares:
                        value = builder.fmul(*[result.widened().value] * 2, flags=CONTRACT)
                    builder.store(builder.fadd(held, value, flags=CONTRACT), total)
            for k, total in enumerate(totals):
                whole = Value(builder, builder.load(total)).widened().value
                builder.store(_sum(builder, whole), builder.gep(target, [ir.IntType(64)(k)]))

        return _summing(loop, len(reads), len(numbers))

    return decorate


@no_type_check
def row_sums(reads: tuple[str, ...], numbers: tuple[str, ...] = ()) -> Callable:
    """Return a decorator: a function of vectors → the intrinsic f(like, inputs, numbers, out, size).

    The k-th vector that the function returns is added, in float64, to out[k size + j] for each neuron j;
    `out` is the address of float64 numbers.
    """

    @no_type_check
    def decorate(body):
        @no_type_check
        def loop(builder, rows, given, target, size):
            wide = ir.VectorType(ir.DoubleType(), rows.lanes)
            with rows.each(builder, size) as (j, line):
                for k, result in enumerate(body(*line, *given)):
                    start = builder.add(j, builder.mul(size, ir.IntType(64)(k)))
                    place = builder.bitcast(builder.gep(target, [start]), wide.as_pointer())
                    sum_ = builder.fadd(builder.load(place, align=8), result.widened().value)
                    builder.store(sum_, place, align=8)

        return _summing(loop, len(reads), len(numbers))

    return decorate


class _Rows:
    """Rows of one length, read vector by vector."""

    @no_type_check
    def __init__(self, builder, scalar, lanes, addresses, count):
        self.scalar, self.lanes = scalar, lanes
        self.at = [_place(builder, scalar, addresses, k) for k in range(count)]

    @contextmanager
    @no_type_check
    def each(self, builder, size):
        """Repeat what is built inside for every vector: its first neuron, and the values of all rows."""
        zero, step = ir.IntType(64)(0), ir.IntType(64)(self.lanes)
        with cgutils.for_range_slice(builder, zero, size, step) as (j, _):
            yield (
                j,
                [
                    Value(builder, load_vector(builder, self.scalar, self.lanes, builder.gep(place, [j])))
                    for place in self.at
                ],
            )


@no_type_check
def _summing(loop, reads, numbers):
    """Return the intrinsic f(like, inputs, numbers, out, size) of a loop over rows that fills `out`."""

    @intrinsic
    @no_type_check
    def formula(typingctx, like, inputs, scalars, out, size):
        dtype = like

        @no_type_check
        def codegen(context, builder, sig, args):
            scalar, lanes = context.get_data_type(dtype), vector_bytes() // (dtype.bitwidth // 8)
            rows = _Rows(builder, scalar, lanes, args[1], reads)
            given = [
                Value(builder, splat(builder, builder.extract_value(args[2], k), lanes))
                for k in range(numbers)
            ]
            target = builder.inttoptr(args[3], ir.DoubleType().as_pointer())
            loop(builder, rows, given, target, args[4])
            return context.get_dummy_value()

        return types.void(like, inputs, scalars, types.intp, types.intp), codegen

    return formula


@no_type_check
def _place(builder, scalar, addresses, k) -> Any:
    """Return the k-th address as a pointer."""
    return builder.inttoptr(builder.extract_value(addresses, k), scalar.as_pointer())


@no_type_check
def _sum(builder, vector) -> Any:
    """Return the sum of a vector's lanes, added pairwise."""
    name = f"llvm.vector.reduce.fadd.v{vector.type.count}f64"
    kind = ir.FunctionType(ir.DoubleType(), [ir.DoubleType(), vector.type])
    reduce = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(reduce, [ir.Constant(ir.DoubleType(), -0.0), vector], fastmath=("reassoc",))
