"""Rows written lane by lane, of every width, and only where they are chosen."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from popk.structure.engine.jit import compiled_part
from popk.structure.engine.lanes import pointer
from popk.structure.engine.tables import address_of, store_integer, store_rows
from popk.structure.engine.vector import W

TO, BY, CHOSEN, COLUMNS = (k * W for k in range(4))
SPARE = 16 * W


@numba.njit
def prepare(b, rows, width):
    for w in range(W):
        store_integer(pointer(b), TO + w, address_of(pointer(rows), w * width))
        store_integer(pointer(b), BY + w, 8 * W * width)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7])
def test_rows_of_lanes(width):
    def code(b, first, second):
        columns = [b[COLUMNS + k * W] for k in range(width)]
        store_rows(b, TO, BY, SPARE, b[CHOSEN], columns)

    part = compiled_part(code, f"rows_of_{width}")
    b, rows = np.zeros(SPARE + 8 * W), np.full((3, W, width), -1.0)
    prepare(b, rows, width)
    expected, at = rows.copy(), np.zeros(W, int)
    place = b.ctypes.data_as(part.ctypes.argtypes[0])
    for turn, some in enumerate([np.arange(W) % 2, np.ones(W, int), np.arange(W) < 3]):
        columns = np.arange(width * W).reshape(width, W) + 100.0 * turn
        b[CHOSEN : CHOSEN + W] = some
        b[COLUMNS : COLUMNS + width * W] = columns.ravel()
        part.ctypes(place, place, place)
        for w in np.flatnonzero(some):
            expected[at[w], w] = columns[:, w]
            at[w] += 1
    np.testing.assert_array_equal(rows, expected)
    assert (rows == -1.0).any()
