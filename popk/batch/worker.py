"""A process that computes items: ``python -m popk.batch.worker``, started by `popk.batch.mapped`.

It reads pickles from standard input: where to import from, a function with its context, then one
item after the other; and writes each answer to standard output. It ends with its input, so also
when the process that started it is gone.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from typing import Any

from threadpoolctl import threadpool_limits

__all__ = ["READY", "answered", "main"]

READY = "ready"


def answered(function: Callable[[Any, Any], Any], context: Any, item: Any) -> tuple[bool, Any]:
    """Whether it could be computed, and the value or what was wrong; on one thread."""
    with threadpool_limits(1):
        try:
            return True, function(context, item)
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is told and others go on
            return False, f"{type(fault).__name__}: {fault}"


def main() -> None:
    """Answer until there is nothing more to be read."""
    # An interruption is the parent's affair: it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    sys.path.extend(path for path in pickle.load(requests) if path not in sys.path)
    function, context = pickle.load(requests)
    pickle.dump(READY, answers)
    answers.flush()
    while True:
        try:
            item = pickle.load(requests)
        except EOFError:
            return
        # Whole or not at all: a value that cannot be pickled is a fault like any other.
        try:
            answer = pickle.dumps(answered(function, context, item))
        except (pickle.PicklingError, AttributeError, TypeError) as fault:
            answer = pickle.dumps((False, f"{type(fault).__name__}: {fault}"))
        answers.write(answer)
        answers.flush()


if __name__ == "__main__":
    main()
