# SPDX-License-Identifier: Apache-2.0
"""What was measured when a graph was made, and travels with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far an exported graph was from its network, measured on the same images at export."""

    images: int
    """How many images were compared."""
    seed: int
    """Seed the images were drawn with."""
    inputs_sha256: str
    """SHA-256 of the images, so that a later comparison can prove it saw the same ones."""
    depth_max_abs: float
    """Largest absolute difference of the depth, in the unit of the depth."""
    depth_max_rel: float
    """Largest difference of the depth as a fraction of the network's depth."""
    sigma_max_abs: float
    """Largest absolute difference of sigma, in the unit of the depth."""
    sigma_max_rel: float
    """Largest difference of sigma as a fraction of the network's depth."""
    tolerance: float
    """The fraction above which the export would have been refused."""
    sizes: tuple[tuple[int, int], ...] = ()
    """(height, width) of the images, where they were of several sizes: of a graph that leaves its
    size free."""


@dataclass(frozen=True, kw_only=True)
class ErrorSpread:
    """Differences of one output over all pixels of all images, as fractions of the reference."""

    mean: float
    p999: float
    """What 99.9 % of the pixels stay within."""
    max: float


@dataclass(frozen=True, kw_only=True)
class GateError:
    """What a precision costs on the images that engines are compared on, the worst of them."""

    depth: ErrorSpread
    noise_depth: ErrorSpread
    """What noise of one 8-bit code in the images changes in the fp32 graph: rounding in another
    order may tip what such noise tips."""
    sigma: ErrorSpread | None = None
    noise_sigma: ErrorSpread | None = None


@dataclass(frozen=True, kw_only=True)
class PrecisionError:
    """How far a graph of lower precision is from the fp32 graph it was made from."""

    reference: str
    """File name of the fp32 graph."""
    reference_sha256: str
    """SHA-256 of that file."""
    method: str
    """What computed the answers: `rounded emulation`, or the name of an engine."""
    images: str
    """The images of the comparison, in words."""
    image_count: int
    depth: ErrorSpread
    sigma: ErrorSpread | None = None
    """As fractions of the reference's sigma; None when the graph gives none."""
    noise_depth: ErrorSpread | None = None
    """What noise of one 8-bit code in the images changes in the fp32 graph, for comparison."""
    noise_sigma: ErrorSpread | None = None
    gate: GateError | None = None
    """The same on the images that engines are compared on, which decides how far they may be."""
    abs_rel_change: float | None = None
    """AbsRel against ground truth over that of the fp32 graph, minus 1: 0.01 is one percent
    more error; None when no ground truth was given."""
    abs_rel_set: str = ''
    """The images with ground truth and the protocol, in words."""
    max_p999: float
    """A larger `depth.p999` or `sigma.p999` would have been refused."""
    max_max: float
    """A larger `depth.max` or `sigma.max` would have been refused."""


@dataclass(frozen=True, kw_only=True)
class CalibratedSigma:
    """How the sigma of a graph was corrected after training, by what held-out images showed.

    With r = sigma / depth as it was before, the graph gives factor * r ** power.
    """

    factor: float
    power: float
    data: str
    """The held-out images, in words."""
    images: int
    error_before: float
    """Calibration error of the confidence on them, before and after."""
    error_after: float
