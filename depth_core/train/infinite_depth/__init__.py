# SPDX-License-Identifier: Apache-2.0
"""Two-stage training against infinite depth (Guizilini et al., ICLR 2020).

A car that drives as fast as the camera looks as if it were infinitely far away, and a network
trained without depth learns to dig holes where cars are. So train twice: the first network finds
the frames in which it sees something below the ground, where nothing can be, and the second is
trained from scratch on the others. A frame that was dropped is not explained any more; beside its
neighbours it stays, to explain them, which the paper leaves open.
`python -m depth_core.train.infinite_depth` does all of it.
"""

from __future__ import annotations

__all__: list[str] = []
