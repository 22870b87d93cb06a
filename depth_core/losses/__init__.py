# SPDX-License-Identifier: Apache-2.0
"""Losses: pure functions of (prediction, target, valid).

`valid` is a bool map of the target's shape, True where the target may be trained on, or None where
all of it may. A masked loss counts only what lies wholly on valid pixels: a difference needs both
of its pixels, an SSIM window all of its pixels. What the target or the prediction holds elsewhere
(0, NaN, infinity) reaches neither the value nor a gradient. With an all-True mask a loss equals
its dense form, and with an empty one it is exactly 0 with zero gradients.

Maps are [B, 1, H, W] unless said otherwise; the losses without neighbours take any shape.
"""

from __future__ import annotations

from depth_core.losses.densedepth import (
    densedepth_loss_keras,
    densedepth_loss_pytorch,
    edge,
    gaussian_window,
    reciprocal_target,
    ssim,
)
from depth_core.losses.distillation import (
    cross_distillation,
    depth_confidence,
    relative_distillation,
)
from depth_core.losses.embedding import (
    embedding_l1,
    embedding_warm_up,
    hierarchical_embedding,
    sobel_l1,
)
from depth_core.losses.photometric import photometric_map, ssim_map
from depth_core.losses.pointwise import l1, laplace_nll, log_l1, silog
from depth_core.losses.scale_invariant import (
    aligned,
    gradient_l1,
    gradient_matching,
    log_gradient_matching,
    scale_and_shift,
    scale_shift_invariant,
    silog_unbiased,
    trimmed_scale_shift_invariant,
)
from depth_core.losses.selfsup_supervised import inverse_depth_loss
from depth_core.losses.smoothness import multi_scale_smoothness
from depth_core.losses.supervised import (
    berhu,
    bins_chamfer,
    gradient_difference,
    surface_normal,
)
from depth_core.losses.velocity import velocity_loss
from depth_core.losses.view_synthesis import synthesised

__all__ = [
    'aligned',
    'berhu',
    'bins_chamfer',
    'cross_distillation',
    'densedepth_loss_keras',
    'densedepth_loss_pytorch',
    'depth_confidence',
    'edge',
    'embedding_l1',
    'embedding_warm_up',
    'gaussian_window',
    'gradient_difference',
    'gradient_l1',
    'gradient_matching',
    'hierarchical_embedding',
    'inverse_depth_loss',
    'l1',
    'laplace_nll',
    'log_gradient_matching',
    'log_l1',
    'multi_scale_smoothness',
    'photometric_map',
    'reciprocal_target',
    'relative_distillation',
    'scale_and_shift',
    'scale_shift_invariant',
    'silog',
    'silog_unbiased',
    'sobel_l1',
    'ssim',
    'ssim_map',
    'surface_normal',
    'synthesised',
    'trimmed_scale_shift_invariant',
    'velocity_loss',
]
