"""Vectors of lanes in memory: what moves them, and what stores them lane by lane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from popk.structure.engine.vector import Lanes, Memory, W

_DOUBLE, _WORD = ir.DoubleType(), ir.IntType(64)
_VECTOR, _WORDS = ir.VectorType(_DOUBLE, W), ir.VectorType(_WORD, W)
_HALVES = (1, 2, 4)  # columns that are stored as one piece of a row


def traced_on_tables(code: Callable[[Memory, Memory, Memory], None]) -> Callable[..., Any]:
    """As `popk.structure.engine.vector.traced`, for ``code`` that is given two tables as well."""

    def signature(typing_context: Any, buffer: Any, first: Any, second: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code(*(Memory(builder, argument) for argument in arguments))
            return context.get_dummy_value()

        return types.void(buffer, first, second), generate

    return cast(Callable[..., Any], intrinsic(signature))


def store_rows(
    b: Memory, where: int, stride: int, spare: int, chosen: Lanes, columns: Sequence[Lanes | float]
) -> None:
    """Write a row of numbers for each chosen lane, and move the lane's address on.

    Nothing is decided lane by lane: rows of other lanes go to a spare place.

    Parameters
    ----------
    b
        The buffer.
    where, stride
        Places of the lanes' addresses, and of the bytes from a row to the next; both integers.
    spare
        Place of as many numbers as a row has.
    chosen
        Above zero in the lanes that write.
    columns
        What is written, one vector for each number of a row.
    """
    builder = chosen.builder
    above = builder.fcmp_ordered(">", chosen.value, ir.Constant(_VECTOR, [0.0] * W))
    addresses, step = (builder.bitcast(b[place].value, _WORDS) for place in (where, stride))
    elsewhere = ir.Constant(_WORDS, [ir.Undefined] * W)
    for w in range(W):
        elsewhere = builder.insert_element(
            elsewhere, builder.ptrtoint(b.address(spare), _WORD), ir.Constant(_WORD, w)
        )
    targets = builder.select(above, addresses, elsewhere)
    moved = builder.select(above, builder.add(addresses, step), addresses)
    b[where] = Lanes(builder, builder.bitcast(moved, _VECTOR))
    for first, piece in _pieces([_value(column) for column in columns], builder):
        for w, part in enumerate(piece):
            target = builder.extract_element(targets, ir.Constant(_WORD, w))
            target = builder.add(target, ir.Constant(_WORD, 8 * first))
            place = builder.inttoptr(target, part.type.as_pointer())
            builder.store(part, place, align=8)


def _value(column: Lanes | float) -> Any:
    return column.value if isinstance(column, Lanes) else ir.Constant(_VECTOR, [column] * W)


def _pieces(columns: list[Any], builder: ir.IRBuilder) -> list[tuple[int, list[Any]]]:
    """Columns as pieces of rows: the first column of a piece, and the piece of every lane."""
    found, first = [], 0
    while first < len(columns):
        width = max(half for half in _HALVES if half <= len(columns) - first)
        found.append((first, _transposed(columns[first : first + width], builder)))
        first += width
    return found


def _transposed(columns: list[Any], builder: ir.IRBuilder) -> list[Any]:
    def shuffle(x: Any, y: Any, lanes: Sequence[int]) -> Any:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
        return builder.shuffle_vector(x, y, mask)

    if len(columns) == 1:
        return [builder.extract_element(columns[0], ir.Constant(_WORD, w)) for w in range(W)]
    # Even lanes of two columns next to each other, and odd ones.
    even = [x + part for x in range(0, W, 2) for part in (0, W)]
    pairs = [
        [shuffle(x, y, [k + odd for k in even]) for odd in (0, 1)]
        for x, y in zip(columns[::2], columns[1::2], strict=True)
    ]
    if len(columns) == 2:
        return [
            shuffle(pairs[0][w % 2], pairs[0][w % 2], [w - w % 2, w - w % 2 + 1]) for w in range(W)
        ]
    both = [(w % 2, w - w % 2) for w in range(W)]
    return [shuffle(pairs[0][odd], pairs[1][odd], [k, k + 1, W + k, W + k + 1]) for odd, k in both]


def _vector_at(builder: Any, pointer: Any, place: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [place]), _VECTOR.as_pointer())


def _moving(combine: Callable[[Any, Any, Any], Any]) -> Any:
    """A function of pointer and place of a vector, and pointer and place of another."""

    def moving(typing_context: Any, to: Any, i: Any, origin: Any, j: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            target = _vector_at(builder, arguments[0], arguments[1])
            source = builder.load(_vector_at(builder, arguments[2], arguments[3]), align=8)
            builder.store(combine(builder, target, source), target, align=8)
            return context.get_dummy_value()

        return types.void(to, types.intp, origin, types.intp), generate

    return intrinsic(moving)


def _kept(builder: Any, target: Any, source: Any) -> Any:
    above = builder.fcmp_ordered(">", source, ir.Constant(_VECTOR, [0.0] * W))
    nought = ir.Constant(_VECTOR, [0.0] * W)
    return builder.select(above, nought, builder.load(target, align=8))


# ``to[i:i + W] = origin[j:j + W]`` and ``to[i:i + W] += origin[j:j + W]`` on pointers to doubles:
# as one vector, which what reads it next need not wait for. `clear_vector` sets to 0 where the
# origin is above zero.
copy_vector: Any = _moving(lambda builder, target, source: source)
add_vector: Any = _moving(
    lambda builder, target, source: builder.fadd(builder.load(target, align=8), source)
)
clear_vector: Any = _moving(_kept)


def _add_product(
    typing_context: Any, to: Any, i: Any, weights: Any, j: Any, origin: Any, k: Any
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target = _vector_at(builder, arguments[0], arguments[1])
        weight = builder.load(_vector_at(builder, arguments[2], arguments[3]), align=8)
        source = builder.load(_vector_at(builder, arguments[4], arguments[5]), align=8)
        before = builder.load(target, align=8)
        product = builder.fmul(weight, source, flags=("contract",))
        total = builder.fadd(product, before, flags=("contract",))
        above = builder.fcmp_ordered(">", weight, ir.Constant(_VECTOR, [0.0] * W))
        builder.store(builder.select(above, total, before), target, align=8)
        return context.get_dummy_value()

    return types.void(to, types.intp, weights, types.intp, origin, types.intp), generate


# ``to[i:i + W] += weights[j:j + W] * origin[k:k + W]`` where the weight is above zero.
add_product: Any = intrinsic(_add_product)


def _call_on_tables(
    typing_context: Any, parts: Any, index: Any, buffer: Any, first: Any, second: Any
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = builder.load(builder.gep(arguments[0], [arguments[1]]))
        pointer = _DOUBLE.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 3)
        tables = [builder.gep(arguments[2], [place]) for place in arguments[3:]]
        builder.call(builder.inttoptr(address, kind.as_pointer()), [arguments[2], *tables])
        return context.get_dummy_value()

    return types.void(parts, types.intp, buffer, types.intp, types.intp), generate


# As `popk.structure.engine.plan.call`, with the places of two tables in the buffer.
call_on_tables: Any = intrinsic(_call_on_tables)


def _store_integer(typing_context: Any, to: Any, i: Any, number: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(arguments[0], [arguments[1]])
        builder.store(arguments[2], builder.bitcast(place, _WORD.as_pointer()))
        return context.get_dummy_value()

    return types.void(to, types.intp, types.int64), generate


# An integer in the place of a double.
store_integer: Any = intrinsic(_store_integer)


def _address_of(typing_context: Any, pointer: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ptrtoint(builder.gep(arguments[0], [arguments[1]]), _WORD)

    return types.int64(pointer, types.intp), generate


# The address of an entry behind a pointer.
address_of: Any = intrinsic(_address_of)


def _pointer_to(kind: Any) -> Any:
    def pointing(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), generate  # type: ignore[no-untyped-call]

    return intrinsic(pointing)


# Pointers from addresses.
integers_at: Any = _pointer_to(types.int64)
doubles_at: Any = _pointer_to(types.float64)
