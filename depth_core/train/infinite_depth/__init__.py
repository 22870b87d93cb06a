# SPDX-License-Identifier: Apache-2.0
"""Training against infinite depth, in two stages (Guizilini et al., ICLR 2020).

A car that drives as fast as the camera looks as if it were infinitely far away, and a network
trained without depth predicts holes there: depth that is far too large. So train twice: with the
first network, drop the frames in which it predicts something below the ground, where nothing can
be; train the second from scratch on the others. A frame that was dropped is no sample any more,
but stays a neighbour of those that are kept, which the paper leaves open.
`python -m depth_core.train.infinite_depth` does all of it.
"""

from __future__ import annotations

__all__: list[str] = []
