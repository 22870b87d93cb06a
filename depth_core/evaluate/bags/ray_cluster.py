# SPDX-License-Identifier: Apache-2.0
"""Parts evaluated by the workers of a Ray cluster; needs the package ray.

Without an address a cluster of this machine is started, which listens on the loopback interface
alone, and ended again. With one, the recordings and the model have to be at the same paths on
every machine of it. No statistics of usage are sent.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from depth_core.errors import ConfigError, DepthError, missing_package
from depth_core.evaluate.bags.executors import Execute, Outcome
from depth_core.evaluate.bags.part import evaluate_part
from depth_core.evaluate.bags.request import BagRequest, Part

_RETRIES: Final = 3
"""So often is a part given to another worker after its own has died."""
_LOCAL: Final = '127.0.0.1'
_BEYOND_THIS_MACHINE: Final = 'RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'
"""Whether Ray takes the loopback address for one of the network, and listens on all interfaces: on
Linux it does unless this is 0 when it is imported."""
_WAITING_PER_WORKER: Final = 2
_PATIENCE_S: Final = 5.0


def on_ray(workers: int, address: str | None = None) -> Execute:
    """Evaluate parts on a Ray cluster.

    Args:
        workers: Of the cluster that is started here; parts at a time where one is joined.
        address: Of a running cluster, `host:port` or `ray://host:port`; None starts one here.

    Raises:
        ConfigError: ray is not installed.
        DepthError: From the returned function: the cluster cannot be reached, or loses workers.
    """
    if address is None:
        os.environ.setdefault(_BEYOND_THIS_MACHINE, '0')
    ray = _ray()

    def execute(request: BagRequest, parts: Sequence[Part]) -> Iterator[Outcome]:
        if not parts:
            return
        with _cluster(ray, workers, address):
            work = ray.remote(num_cpus=1, max_retries=_RETRIES)(evaluate_part)
            queue = deque(parts)
            running: dict[Any, Part] = {}
            while queue or running:
                while queue and len(running) < workers * _WAITING_PER_WORKER:
                    part = queue.popleft()
                    running[work.remote(request, part)] = part
                done, _ = ray.wait(list(running), num_returns=1)
                for reference in done:
                    yield running.pop(reference), _result(ray, reference)

    return execute


def _result(ray: Any, reference: Any) -> bytes | DepthError:  # noqa: ANN401  optional package
    try:
        found: bytes = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DepthError):
            return error.cause
        raise
    except ray.exceptions.RayError as error:
        message = (
            f'the Ray cluster lost its workers {_RETRIES} times at one part '
            f'({str(error).splitlines()[0]}). What is finished is kept; look at the memory of '
            'its machines, and run again.'
        )
        raise DepthError(message) from error
    return found


@contextlib.contextmanager
def _cluster(ray: Any, workers: int, address: str | None) -> Iterator[None]:  # noqa: ANN401
    """Join a cluster or start one, and leave or end it."""
    os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
    if address is not None:
        _check_reachable(address)
    options: dict[str, Any] = {'address': address}
    if address is None:
        # Ray has its workers yield to all others: beside four busy programs they got 1 % of a CPU.
        os.environ.setdefault('RAY_worker_niceness', '0')
        options = {
            'address': 'local',
            'num_cpus': workers,
            'include_dashboard': False,
            '_node_ip_address': _LOCAL,
        }
    try:
        ray.init(log_to_driver=False, logging_level='ERROR', **options)
    except Exception as error:
        first = str(error).strip().partition('\n')[0]
        raise DepthError(_unreachable(address, first or type(error).__name__)) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Refuse an address at which nobody listens: Ray itself would try for a minute.

    Raises:
        ConfigError: It is no host and port.
        DepthError: Nobody listens.
    """
    host, _, port = address.removeprefix('ray://').rpartition(':')
    if not host or not port.isdigit():
        message = f'--ray_address is {address!r}; give host:port or ray://host:port.'
        raise ConfigError(message)
    try:
        with socket.create_connection((host, int(port)), timeout=_PATIENCE_S):
            pass
    except (OSError, OverflowError) as error:
        raise DepthError(_unreachable(address, str(error))) from error


def _unreachable(address: str | None, reason: str) -> str:
    where = f'at {address}' if address else 'on this machine'
    return (
        f'the Ray cluster {where} cannot be reached ({reason}); start one (ray start --head), '
        'check --ray_address, set RAY_AUTH_MODE=token where it asks for a token, or use '
        '--executor pool.'
    )


def _ray() -> Any:  # noqa: ANN401  optional package
    try:
        import ray  # noqa: PLC0415  optional, and seconds of imports
    except ImportError as error:
        message = missing_package(
            '--executor ray', 'ray', extra='ray', instead='use --executor pool'
        )
        raise ConfigError(message) from error
    return ray
