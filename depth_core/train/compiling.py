# SPDX-License-Identifier: Apache-2.0
"""`torch.compile` of the network, and what happens where that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from depth_core.errors import DepthError

_LOG = logging.getLogger(__name__)


def compile_network(network: nn.Module, *, backend: str | Callable[..., Any] = 'inductor') -> None:
    """Compile `network` in place, when it is called first; its weights keep their names.

    From the first failure to compile on, it runs as it is.

    Args:
        network: What is called in every step.
        backend: Of torch.compile.
    """
    plain = network.forward
    compiled = torch.compile(plain, backend=backend, dynamic=False)
    usable = True

    def forward(*inputs: Any, **named: Any) -> Any:  # noqa: ANN401  those of the network
        nonlocal usable
        if not usable:
            return plain(*inputs, **named)
        try:
            return compiled(*inputs, **named)
        except DepthError:  # of the network itself: it would be the same without
            raise
        except (TorchDynamoException, NotImplementedError, OSError, RuntimeError) as error:
            usable = False
            answer = plain(*inputs, **named)  # an error of the network's own ends here
            reason = ' '.join(str(error).splitlines()[:2]) or type(error).__name__
            _LOG.warning(
                'trainer.compile: torch.compile failed (%s); the network runs as it is', reason
            )
            return answer

    setattr(network, 'forward', forward)  # noqa: B010  nn.Module calls what its object holds
