# SPDX-License-Identifier: Apache-2.0
"""`mono_depth` whose backends hang, fail or end their thread on order: a process of its own.

    python -m depth_ros.stress.faulty_node ORDERS --ros-args ...

The file ORDERS holds the name of a backend, or any, and what it does: `answer`; `hang` once or
`hang_always`; `hold`, which hangs and holds the lock of the interpreter; `fail`; `end`, which ends
the thread, once. Nothing else of the node is changed.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from pathlib import Path
from typing import Any, Final, NoReturn

from depth_core.errors import BackendError
from depth_core.runtime import Predictor
from depth_ros import mono_depth_node

ANSWER: Final = 'any answer'
"""The order to do as always."""

_predict = Predictor.predict


def give_order(orders: Path, text: str) -> None:
    """Write an order; the file is never seen half written."""
    given = orders.with_suffix('.given')
    given.write_text(text, encoding='utf-8')
    given.replace(orders)


def main() -> None:
    """Run the node."""
    orders = Path(sys.argv.pop(1))

    def predict(self: Predictor, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 passed on
        backend, what = orders.read_text(encoding='utf-8').split()
        if backend in {self.backend, 'any'}:
            _obey(what, orders)
        return _predict(self, *arguments, **options)

    setattr(Predictor, 'predict', predict)  # noqa: B010 a method is replaced
    mono_depth_node.main()


def _obey(what: str, orders: Path) -> None:
    if what in {'hang', 'hold', 'end'}:
        served = orders.with_suffix('.served')  # by the node; not the file of whoever orders
        served.write_text(ANSWER, encoding='utf-8')
        served.replace(orders)
    if what.startswith('hang'):
        threading.Event().wait()
    if what == 'hold':
        hold_interpreter()
    if what == 'end':
        raise SystemExit
    if what == 'fail':
        message = 'the device is gone'
        raise BackendError(message)


def hold_interpreter() -> NoReturn:
    """Hang in C for ever, without letting another thread of Python run meanwhile."""
    library = ctypes.PyDLL(None)
    mutex = ctypes.create_string_buffer(64)  # as PTHREAD_MUTEX_INITIALIZER leaves it
    while True:
        library.pthread_mutex_lock(mutex)  # the second time waits for the first


if __name__ == '__main__':
    main()
