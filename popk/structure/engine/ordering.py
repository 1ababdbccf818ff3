"""The order of atoms: by key, by place at one time, then as they were made."""

from __future__ import annotations

from typing import Any

from popk.structure.engine.jit import njit


@njit
def after(keys: Any, a: int, b: int) -> bool:
    """Whether atom a comes after atom b."""
    for c in range(3):
        if keys[a, c] != keys[b, c]:
            return bool(keys[a, c] > keys[b, c])
    return False


@njit
def swap(numbers: Any, codes: Any, a: int, b: int) -> None:
    """Exchange two atoms."""
    for c in range(numbers.shape[1]):
        numbers[a, c], numbers[b, c] = numbers[b, c], numbers[a, c]
    for c in range(codes.shape[1]):
        codes[a, c], codes[b, c] = codes[b, c], codes[a, c]


@njit
def merge(keys: Any, orders: Any, n: int, width: int, source: int) -> None:
    """One pass of a merge sort, from one column of ``orders`` to the other."""
    target = 1 - source
    for left in range(0, n, 2 * width):
        middle, right = min(left + width, n), min(left + 2 * width, n)
        a, b = left, middle
        for k in range(left, right):
            if a < middle and (b >= right or not after(keys, orders[a, source], orders[b, source])):
                orders[k, target] = orders[a, source]
                a += 1
            else:
                orders[k, target] = orders[b, source]
                b += 1


@njit
def sort(atoms: Any, n: int) -> None:
    """Bring the atoms into order: by key, by place at one time, then as they were made."""
    numbers, codes, keys, orders = atoms
    ordered = True
    for k in range(n):
        orders[k, 0] = k
        ordered = ordered and (k == 0 or not after(keys, k - 1, k))
    if ordered:
        return
    width, source = 1, 0
    while width < n:
        merge(keys, orders, n, width, source)
        width, source = 2 * width, 1 - source
    # Along the cycles of the permutation.
    for start in range(n):
        k = start
        while orders[k, source] != start and orders[k, source] >= 0:
            origin = orders[k, source]
            swap(numbers, codes, k, origin)
            orders[k, source] = -1
            k = origin
        orders[k, source] = -1
