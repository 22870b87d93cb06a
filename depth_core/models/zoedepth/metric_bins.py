# SPDX-License-Identifier: Apache-2.0
"""Metric bins: depth as the mean of a distribution over centres that each pixel has for itself.

The coarsest features propose the centres of the bins; finer features attract them, level by
level; the last features say how likely each bin is. Paper: S. F. Bhat et al., ZoeDepth, arXiv
2302.12288, 2023. Written from the facts of the published code, slips included, since the published
weights rely on them: attraction has alpha = 300 although the configurations say 1000; the
normalised attractors use the first of two channels and never divide by their sum; the binomial
coefficients are Stirling's without the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from depth_core.models.blocks import resize_bilinear
from depth_core.precision import at_least_float32

CentresType: TypeAlias = Literal['softplus', 'normed', 'hybrid1', 'hybrid2']
"""softplus: centres are any positive depth. normed: they part [min, max] and stay in it. hybrid1:
normed at the start, then free. hybrid2: free at the start, then normed."""
Aggregation: TypeAlias = Literal['mean', 'sum']
Attraction: TypeAlias = Literal['inv', 'exp']
Likelihood: TypeAlias = Literal['log_binomial', 'softmax']
"""log_binomial: a place along the bins and a temperature say how likely each is, so that
neighbours are alike. softmax: each has a score of its own."""

CENTRES_TYPES: Final[tuple[CentresType, ...]] = get_args(CentresType)
AGGREGATIONS: Final[tuple[Aggregation, ...]] = get_args(Aggregation)
ATTRACTIONS: Final[tuple[Attraction, ...]] = get_args(Attraction)
LIKELIHOODS: Final[tuple[Likelihood, ...]] = get_args(Likelihood)

_ALPHA: Final = 300.0
_TINY: Final = 1e-3
_PROBABILITY_FLOOR: Final = 1e-4
_COEFFICIENT_FLOOR: Final = 1e-7
_MIN_TEMPERATURE: Final = 0.0212
_MAX_TEMPERATURE: Final = 50.0
_MIN_SPREAD: Final = 1e-3
_REFERENCE_DEPTH_M: Final = 10.0


def inverse_attraction(distance: Tensor, *, alpha: float = _ALPHA, gamma: int = 2) -> Tensor:
    """How far a centre moves to a point at `distance`: d / (1 + alpha d^gamma)."""
    return distance / (1.0 + alpha * distance**gamma)


def exponential_attraction(distance: Tensor, *, alpha: float = _ALPHA, gamma: int = 2) -> Tensor:
    """How far a centre moves to a point at `distance`: d exp(-alpha |d|^gamma)."""
    return torch.exp(-alpha * distance.abs() ** gamma) * distance


class PointwiseMlp(nn.Module):
    """Two 1x1 convolutions with a ReLU between."""

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(in_channels, hidden_channels, 1)
        self.out = nn.Conv2d(hidden_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the size; metres do not fit half precision, so answer in float32 at least."""
        return at_least_float32(self.out(F.relu(self.hidden(x))))


class SeedRegressor(nn.Module):
    """First centres of the bins of each pixel, from the coarsest features."""

    def __init__(
        self,
        in_channels: int,
        n_bins: int,
        *,
        hidden_channels: int,
        depth_range: tuple[float, float] | None,
    ) -> None:
        super().__init__()
        self.net = PointwiseMlp(in_channels, hidden_channels, n_bins)
        self.depth_range = depth_range

    def forward(self, x: Tensor) -> Tensor:
        """Return centres [B, n_bins, h, w], metres; rising and in range where one is given."""
        raw = self.net(x)
        if self.depth_range is None:
            return F.softplus(raw)
        low, high = self.depth_range
        widths = F.relu(raw) + _TINY
        widths = widths / widths.sum(dim=1, keepdim=True) * (high - low)
        edges = F.pad(widths, (0, 0, 0, 0, 1, 0), value=low).cumsum(dim=1)
        return 0.5 * (edges[:, :-1] + edges[:, 1:])


class AttractorLayer(nn.Module):
    """Move the centres of the bins towards points the features of this level name.

    With a depth range the layer works on centres normalised to it and its net has two channels a
    point, of which only the first acts; the second is kept because the published weights have it.
    Those points start in the middle of the range: left to chance, as originally, half of them are
    behind a ReLU that never opens.
    """

    def __init__(
        self,
        in_channels: int,
        n_attractors: int,
        *,
        hidden_channels: int,
        depth_range: tuple[float, float] | None,
        aggregation: Aggregation = 'mean',
        attraction: Attraction = 'inv',
    ) -> None:
        super().__init__()
        channels = n_attractors if depth_range is None else 2 * n_attractors
        self.net = PointwiseMlp(in_channels, hidden_channels, channels)
        if depth_range is not None:
            with torch.no_grad():
                self.net.out.get_parameter('bias')[::2] = 0.5
        self.depth_range = depth_range
        self.aggregation = aggregation
        self.move = {'inv': inverse_attraction, 'exp': exponential_attraction}[attraction]

    def forward(
        self, embedding: Tensor, centres: Tensor, previous: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attract at the size of `embedding`.

        Args:
            embedding: [B, E, h, w] of this level.
            centres: [B, n_bins, h', w'] of the level before; normalised with a depth range.
            previous: [B, E, h', w'] embedding of the level before.

        Returns:
            The centres for the next level, and the centres in metres: the same without a depth
            range; with one these are normalised and unsorted, those sorted and in range.
        """
        size = (embedding.shape[-2], embedding.shape[-1])
        raw = self.net(embedding + _resized(previous, size))
        centres = _resized(centres, size)
        if self.depth_range is None:
            moved = self._attracted(centres, F.softplus(raw))
            return moved, moved
        moved = self._attracted(centres, F.relu(raw[:, ::2]) + _TINY)
        low, high = self.depth_range
        metres = (moved * (high - low) + low).sort(dim=1).values
        return moved, metres.clamp(low, high)

    def _attracted(self, centres: Tensor, points: Tensor) -> Tensor:
        # One point at a time: all at once would hold points x bins maps.
        shift = torch.zeros_like(centres)
        for point in points.split(1, dim=1):
            shift = shift + self.move(point - centres)
        return centres + (shift / points.shape[1] if self.aggregation == 'mean' else shift)


def stirling_log_binomial(count: int, like: Tensor) -> Tensor:
    """Give ln C(count - 1, k) for k = 0..count - 1 as the published code has it.

    n ln n - k ln k - (n - k) ln(n - k), each argument raised by 1e-7: exact at both ends, 2.3 too
    large in the middle of 64. The term k ln k is of float32 whatever the rest is, as theirs.

    Args:
        count: Bins, K.
        like: Gives type and device.

    Returns:
        [1, K, 1, 1].
    """
    n = torch.full((), count - 1, device=like.device, dtype=like.dtype) + _COEFFICIENT_FLOOR
    k = torch.arange(count, device=like.device, dtype=torch.float32) + _COEFFICIENT_FLOOR
    rest = n - k.to(like.dtype)
    table = n * n.log() - (k * k.log()).to(like.dtype)
    return (table - rest * (rest + _COEFFICIENT_FLOOR).log()).reshape(1, -1, 1, 1)


def log_binomial(probability: Tensor, temperature: Tensor | float, count: int) -> Tensor:
    """Distribution over bins: a softmax of binomial log-likelihoods, sharper when cold.

    Args:
        probability: [B, 1, H, W] in [0, 1], where along the bins the mass lies.
        temperature: [B, 1, H, W], or one for all.
        count: Bins, K.

    Returns:
        [B, K, H, W], sum 1 over K.
    """
    k = torch.arange(count, device=probability.device, dtype=probability.dtype)
    k = k.reshape(1, -1, 1, 1)
    yes = probability.clamp(_PROBABILITY_FLOOR, 1.0).log()
    no = (1.0 - probability).clamp(_PROBABILITY_FLOOR, 1.0).log()
    logits = stirling_log_binomial(count, probability) + k * yes + (count - 1 - k) * no
    return torch.softmax(logits / temperature, dim=1)


class _ConditionalScores(nn.Module):
    """Some numbers for each pixel, from the last features and the last embedding."""

    def __init__(
        self, in_channels: int, condition_channels: int, scores: int, *, bottleneck: int
    ) -> None:
        super().__init__()
        total = in_channels + condition_channels
        self.hidden = nn.Conv2d(total, total // bottleneck, 1)
        self.out = nn.Conv2d(total // bottleneck, scores, 1)

    def scores(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return [B, scores, H, W], at least float32."""
        return at_least_float32(self.out(F.gelu(self.hidden(torch.cat((x, condition), dim=1)))))


class ConditionalLogBinomial(_ConditionalScores):
    """How likely each bin is: where the mass lies, and how wide."""

    def __init__(
        self, in_channels: int, condition_channels: int, n_bins: int, *, bottleneck: int
    ) -> None:
        super().__init__(in_channels, condition_channels, 4, bottleneck=bottleneck)
        self.n_bins = n_bins

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return [B, n_bins, H, W], sum 1 over the bins."""
        votes = F.softplus(self.scores(x, condition)) + _PROBABILITY_FLOOR
        yes, no, hot, cold = votes.split(1, dim=1)
        span = _MAX_TEMPERATURE - _MIN_TEMPERATURE
        temperature = span * hot / (hot + cold) + _MIN_TEMPERATURE
        return log_binomial(yes / (yes + no), temperature, self.n_bins)


class ConditionalSoftmax(_ConditionalScores):
    """What the paper compares the log-binomial with: a score for each bin."""

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return [B, n_bins, H, W], sum 1 over the bins."""
        return self.scores(x, condition).softmax(dim=1)


@dataclass(frozen=True, kw_only=True)
class Bins:
    """A distribution of depth in each pixel."""

    centres: Tensor
    """[B, K, H, W] metres."""
    probabilities: Tensor
    """[B, K, H, W], sum 1 over K."""

    def mean(self) -> Tensor:
        """Depth [B, 1, H, W], metres."""
        return (self.probabilities * self.centres).sum(dim=1, keepdim=True)

    def spread(self, mean: Tensor) -> Tensor:
        """Standard deviation [B, 1, H, W] around `mean`, metres, at least a millimetre."""
        variance = self.probabilities * (self.centres - mean).square()
        return (variance.sum(dim=1, keepdim=True) + _MIN_SPREAD**2).sqrt()


class BinEmbedding(nn.Module):
    """What the features say about the bins: one embedding a level."""

    def __init__(self, channels: Sequence[int], *, hidden: int, embedding_dim: int) -> None:
        super().__init__()
        coarsest = channels[0]
        self.bottleneck = nn.Conv2d(coarsest, coarsest, 1)
        self.projectors = nn.ModuleList(
            PointwiseMlp(count, hidden, embedding_dim) for count in channels
        )

    def forward(self, bottleneck: Tensor, fused: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the coarsest features and the embeddings, coarsest first."""
        x = self.bottleneck(bottleneck)
        return x, [project(y) for project, y in zip(self.projectors, (x, *fused), strict=True)]


class BinHead(nn.Module):
    """The part of a head that a domain has for itself: seeds, attractors, likelihood."""

    def __init__(
        self,
        in_channels: int,
        last_channels: int,
        *,
        n_bins: int,
        embedding_dim: int,
        n_attractors: Sequence[int],
        centres_type: CentresType,
        depth_range: tuple[float, float],
        seed_hidden: int,
        bottleneck: int,
        aggregation: Aggregation,
        attraction: Attraction,
        likelihood: Likelihood,
    ) -> None:
        super().__init__()
        self.depth_range = depth_range
        self.normalises_seed = centres_type in ('normed', 'hybrid2')
        self.seed = SeedRegressor(
            in_channels,
            n_bins,
            hidden_channels=seed_hidden,
            depth_range=depth_range if centres_type in ('normed', 'hybrid1') else None,
        )
        self.attractors = nn.ModuleList(
            AttractorLayer(
                embedding_dim,
                count,
                hidden_channels=embedding_dim,
                depth_range=depth_range if centres_type in ('normed', 'hybrid2') else None,
                aggregation=aggregation,
                attraction=attraction,
            )
            for count in n_attractors
        )
        kinds: dict[Likelihood, type[ConditionalLogBinomial | ConditionalSoftmax]] = {
            'log_binomial': ConditionalLogBinomial,
            'softmax': ConditionalSoftmax,
        }
        self.likelihood = kinds[likelihood](
            last_channels, embedding_dim, n_bins, bottleneck=bottleneck
        )

    def forward(self, x: Tensor, embeddings: Sequence[Tensor], last: Tensor) -> Bins:
        """Find the bins of each pixel.

        Args:
            x: [B, C, h, w] coarsest features.
            embeddings: [B, E, h, w] from the coarsest on, one more than attractor layers.
            last: [B, L, H, W] features at the resolution of the answer.
        """
        centres = self.seed(x)
        if self.normalises_seed:
            low, high = self.depth_range
            centres = (centres - low) / (high - low)
        metres = centres
        for level, attractor in enumerate(self.attractors):
            centres, metres = attractor(embeddings[level + 1], centres, embeddings[level])
        size = (last.shape[-2], last.shape[-1])
        condition = _resized(embeddings[-1], size)
        return Bins(
            centres=_resized(metres, size),
            probabilities=self.likelihood(last, condition),
        )


class SpreadCalibration(nn.Module):
    """sigma = scale * spread ** slope * (depth / 10 m) ** depth_slope; cannot move the depth.

    The spread of the bins says where a network is unsure, not by how many metres: bins are wide
    where a network has found that wide ones do. Three numbers of each domain put that right; they
    are learnt by likelihood on a spread and a depth that are detached. Scale 1 (held as its
    logarithm, 0), slope 1 and depth slope 0 leave the spread as it is.
    """

    def __init__(self, n_domains: int = 1) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(n_domains))
        self.slope = nn.Parameter(torch.ones(n_domains))
        self.depth_slope = nn.Parameter(torch.zeros(n_domains))

    def forward(self, spread: Tensor, depth: Tensor, domain: int = 0) -> Tensor:
        """Return sigma, metres, positive, of the shape of `spread` and `depth`, positive both."""
        log_depth = (depth.detach() / _REFERENCE_DEPTH_M).log()
        log_sigma = self.slope[domain] * spread.detach().log()
        log_sigma = log_sigma + self.depth_slope[domain] * log_depth + self.log_scale[domain]
        return log_sigma.exp()


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring a map to `size`; one that has it already needs no node in a graph."""
    if (x.shape[-2], x.shape[-1]) == size:
        return x
    return resize_bilinear(x, size, 'align_corners')
