# SPDX-License-Identifier: Apache-2.0
"""What a run tells the tools that show it: Fabric's interface, and pictures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric.loggers.logger import Logger

from depth_core.contracts import Uint8Array


@dataclass(frozen=True, kw_only=True)
class Told:
    """What every logger is told of the run it shows."""

    folder: Path
    """Of the run."""
    first_step: int
    """Steps done before; above 0 at a resume."""
    project: str
    """Name that the runs of a project have in common."""

    @property
    def name(self) -> str:
        """Of the run."""
        return self.folder.resolve().name


class RunLogger(Logger):
    """A logger of Fabric that shows pictures too; only the first process has any."""

    @abstractmethod
    def log_picture(self, name: str, picture: Uint8Array, step: int) -> None:
        """Show a picture, [H, W, 3] RGB, under a name as `held_out/drawn`."""

    @abstractmethod
    def log_score_names(
        self, settings: Mapping[str, bool | float | str], names: Sequence[str]
    ) -> None:
        """Say by which numbers runs with other settings are compared.

        Args:
            settings: All of them by their dotted keys.
            names: Tags of numbers that are logged; the first is that of best.ckpt.
        """
