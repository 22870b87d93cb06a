# SPDX-License-Identifier: Apache-2.0
"""Training: one command, one loop, one recipe a training scheme.

`python -m depth_core.train --config config/train/densedepth_synthetic.yaml`. A run is a function
of its settings: the same settings give the same weights on the same machine, whether or not the
run was interrupted and resumed.
"""

from __future__ import annotations

__all__: list[str] = []
