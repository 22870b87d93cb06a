# SPDX-License-Identifier: Apache-2.0
"""What one row of the table measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from depth_core.runtime import Precision

Loop: TypeAlias = Literal['predictor', 'raw']
"""What is called: `Predictor.predict`, or the runtime itself on an image that is ready for it."""


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """What is measured."""

    model: Path
    backend: str
    precision: Precision
    threads: int | None
    image_height: int
    image_width: int
    frames: int
    """Calls that are measured, in all rounds together."""
    batch: int = 1
    """Images of one call."""
    loop: Loop = 'predictor'
    network_size: tuple[int, int] | None = None
    """Height and width inside, for a checkpoint that is compared with a graph; None takes those
    that the model is made for."""

    @property
    def label(self) -> str:
        """The name of the row: `openvino`, `openvino/bf16/2t`, `raw onnxruntime/x4`."""
        parts = [self.backend if self.loop == 'predictor' else f'{self.loop} {self.backend}']
        if self.precision != 'fp32':
            parts.append(self.precision)
        if self.threads is not None:
            parts.append(f'{self.threads}t')
        if self.batch > 1:
            parts.append(f'x{self.batch}')
        return '/'.join(parts)
