# SPDX-License-Identifier: Apache-2.0
"""Models and reports side by side: errors with their intervals, pictures, and speed.

`python -m depth_core.compare` takes report folders and models. A model is evaluated here, under
the options of the command or those of a report beside it, so that everything that is compared is a
report; `compare` puts these side by side, `draw` shows what each model made of the same images,
and `speeds` how long each takes.
"""

from __future__ import annotations

from depth_core.compare.bootstrap import Difference, compare
from depth_core.compare.subjects import Subject

__all__ = ['Difference', 'Subject', 'compare']
