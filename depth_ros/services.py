# SPDX-License-Identifier: Apache-2.0
"""The services of the node beside those of its lifecycle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from rclpy.node import Node
from std_srvs.srv import Trigger

Reset: TypeAlias = Callable[[], str]
"""Does it and says what was done; an empty text means that there is nothing to do it to."""


def create_reset_services(node: Node, *, statistics: Reset, scale: Reset) -> None:
    """Offer `~/reset_statistics` and `~/reset_scale`.

    Args:
        node: Theirs.
        statistics: Begins to count anew.
        scale: Forgets the scale found so far.
    """
    for name, reset, missing in (
        ('reset_statistics', statistics, 'nothing is counted'),
        ('reset_scale', scale, 'no source of scale is in use: set scale_source and activate'),
    ):
        node.create_service(Trigger, f'~/{name}', _answer(reset, missing))


def _answer(reset: Reset, missing: str) -> Callable[[Any, Any], Any]:
    def answer(_request: Any, response: Any) -> Any:  # noqa: ANN401 of Trigger
        response.message = reset() or missing
        response.success = response.message != missing
        return response

    return answer
