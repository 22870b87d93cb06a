# SPDX-License-Identifier: Apache-2.0
"""ZoeDepth for several domains at once: ZoeD-NK, one core, a head a domain and a router.

See `zoedepth` for paper, original code and licence. The published network has a slip its weights
rely on: the numbers of attractors land in the place of the number of bins, so that every level has
16. `attractors_per_level=True` builds what was meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from depth_core.errors import ConfigError, ModelError, unknown_name
from depth_core.models.base import DepthModel, ModelSpec
from depth_core.models.blocks import resize_bilinear
from depth_core.models.zoedepth.dpt import HEAD_CHANNELS, DptCore, DptFeatures
from depth_core.models.zoedepth.dpt_encoders import LEVELS
from depth_core.models.zoedepth.metric_bins import (
    Aggregation,
    Attraction,
    BinEmbedding,
    BinHead,
    Bins,
    CentresType,
    SpreadCalibration,
)
from depth_core.models.zoedepth.network import (
    ZoeDepthPrediction,
    check_square,
    clipped,
    neutral_calibration,
    predict,
    spec_of,
)
from depth_core.models.zoedepth.options import BinOptions, CoreOptions
from depth_core.models.zoedepth.routing import DomainRouter, domain_of_batch, domain_of_each

ROUTINGS: Final = ('image', 'batch')
"""Who decides which head answers: each image for itself, or the batch by vote."""

_ATTRACTORS: Final = 16
_ROUTER_LAYERS: Final = 4
_ROUTER_HEADS: Final = 4


def has_several_heads(network: str, options: Mapping[str, object]) -> bool:
    """Whether the network of that name and options has a head a domain, and a router."""
    return network == 'zoedepth_nk' or bool(options.get('domains'))


class ZoeDepthNK(DepthModel):
    """Several heads of metric bins on a DPT core, and a router that picks one: ZoeD-NK.

    Routing each image, all heads are run and one answer is selected, so that the graph holds no
    branch and an image is answered alone as in a batch. The head that is not used costs 2.5
    billion multiplications at 384x512 beside the 356 of all else (BEiT-L), and its maps of bins at
    full size. `routing` with the name of a domain runs that head alone.
    """

    def __init__(
        self,
        spec: ModelSpec,
        core: nn.Module,
        embedding: BinEmbedding,
        heads: Mapping[str, BinHead],
        router: DomainRouter,
        *,
        routing: str,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.core = core
        self.embedding = embedding
        self.heads = nn.ModuleDict(heads)
        self.depth_ranges = {name: head.depth_range for name, head in heads.items()}
        self.router = router
        self.calibration = SpreadCalibration(len(heads))
        self.routing = routing

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in the order of the logits."""
        return tuple(self.heads)

    def forward(self, images: Tensor, head: str | None = None) -> ZoeDepthPrediction:
        """Predict depth and sigma at the size of `images`.

        Args:
            images: [B, 3, H, W] RGB in [0, 1].
            head: Who answers, where training decides it: the name of a domain; `vote` for the
                one head the batch votes for, which alone is run; `blend` for the mean of all
                heads weighted by the router's probabilities. None: as the model routes.

        Raises:
            ModelError: The size does not fit, or there is no such head.
        """
        self.check_input(images)
        features = self.core(images)
        x, embeddings = self.embedding(features.bottleneck, features.fused)
        logits = self.router(x)
        if head == 'vote':
            head = self.domains[int(domain_of_batch(logits)[0])]
        elif head is None and self.routing in self.domains:
            head = self.routing
        if head is None:
            answers = self._answers(features, x, embeddings, self.domains)
            depth, sigma = (_select(maps, self._route(logits)) for maps in answers)
        elif head == 'blend':
            answers = self._answers(features, x, embeddings, self.domains)
            weights = logits.softmax(dim=-1).unbind(dim=-1)
            depth, sigma = (_blend(maps, weights) for maps in answers)
        elif head in self.domains:
            depth, sigma = (maps[0] for maps in self._answers(features, x, embeddings, [head]))
        else:
            known = (*self.domains, 'vote', 'blend')
            raise ModelError(unknown_name('head', head, known))
        depth, sigma, relative = (
            _at_size_of(images, x) for x in (depth, sigma, features.relative.unsqueeze(1))
        )
        return predict(self.spec, depth, sigma, relative=relative.squeeze(1), domain_logits=logits)

    def official_forward(self, x: Tensor) -> dict[str, Tensor]:
        """Run the authors' network on RGB in [0, 1] that is at network size already.

        Returns:
            `metric_depth` [B, 1, H, W] metres, not clipped, as `routing` says; `rel_depth`
            [B, H, W]; `domain_logits` [B, domains]; and of ours `metric_depth_<domain>`, the
            answer of each head.
        """
        self.check_input(x)
        features = self.core(x)
        coarsest, embeddings = self.embedding(features.bottleneck, features.fused)
        logits = self.router(coarsest)
        depths = self._answers(features, coarsest, embeddings, self.domains)[0]
        if self.routing in self.domains:
            depth = depths[self.domains.index(self.routing)]
        else:
            depth = _select(depths, self._route(logits))
        return {
            'metric_depth': depth,
            'rel_depth': features.relative,
            'domain_logits': logits,
            **{
                f'metric_depth_{name}': own for name, own in zip(self.domains, depths, strict=True)
            },
        }

    def relative_depth(self, images: Tensor) -> Tensor:
        """Run the core alone: [B, H, W] inverse depth up to scale and shift, not negative."""
        self.check_input(images)
        features: DptFeatures = self.core(images)
        return features.relative

    def own_state(self) -> dict[str, Tensor]:
        """The calibration of sigma, leaving the spread of the bins as it is."""
        return neutral_calibration(len(self.heads))

    def check_input(self, images: Tensor) -> None:
        """Refuse a size the network cannot take."""
        super().check_input(images)
        if isinstance(self.core, DptCore):
            check_square(self.spec, self.core, images)

    def _answers(
        self,
        features: DptFeatures,
        x: Tensor,
        embeddings: Sequence[Tensor],
        names: Sequence[str],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Depth and sigma of the named heads."""
        depths, sigmas = [], []
        for name in names:
            bins = self._bins(name, x, embeddings, features.last)
            depth = bins.mean()
            depths.append(depth)
            spread, number = bins.spread(depth), self.domains.index(name)
            sigmas.append(self.calibration(spread, clipped(self.spec, depth), number))
        return depths, sigmas

    def _bins(self, name: str, x: Tensor, embeddings: Sequence[Tensor], last: Tensor) -> Bins:
        """Bins of the head called `name`, centres in metres."""
        bins: Bins = self.heads[name](x, embeddings, last)
        return bins

    def _route(self, logits: Tensor) -> Tensor:
        return domain_of_batch(logits) if self.routing == 'batch' else domain_of_each(logits)


def _at_size_of(images: Tensor, x: Tensor) -> Tensor:
    size = (images.shape[-2], images.shape[-1])
    return x if x.shape[-2:] == size else resize_bilinear(x, size, 'half_pixel')


def _select(maps: Sequence[Tensor], index: Tensor) -> Tensor:
    """Of each image the map its index names; maps [B, 1, H, W], index [B]."""
    chosen = maps[0]
    for number, other in enumerate(maps[1:], start=1):
        chosen = torch.where(index.reshape(-1, 1, 1, 1) == number, other, chosen)
    return chosen


def _blend(maps: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    parts = [y * w.reshape(-1, 1, 1, 1) for y, w in zip(maps, weights, strict=True)]
    return torch.stack(parts).sum(dim=0)


def zoedepth_nk(
    *,
    max_depth: float = 80.0,
    min_depth: float = 1e-3,
    domains: Sequence[str] = ('nyu', 'kitti'),
    domain_max_depths: Sequence[float] = (10.0, 80.0),
    routing: str = 'image',
    encoder: str = 'beit',
    encoder_options: dict[str, Any] | None = None,
    hooks: Sequence[int] | None = None,
    neck_channels: Sequence[int] | None = None,
    features: int = 256,
    n_bins: int = 64,
    bin_embedding_dim: int = 128,
    n_attractors: Sequence[int] = (16, 8, 4, 1),
    attractors_per_level: bool = False,
    bin_centers_type: CentresType = 'softplus',
    attractor_kind: Aggregation = 'mean',
    attractor_type: Attraction = 'inv',
    router_ff: int = 1024,
    pretrained: bool = False,
) -> ZoeDepthNK:
    """Build ZoeD-NK, the network for rooms and roads; the defaults are the published one.

    Args:
        max_depth: Largest depth, metres.
        min_depth: Smallest depth, metres.
        domains: Names of the domains, in the order of the router's answers and of the data sets.
        domain_max_depths: Largest depth of each domain, metres; it acts on normed bins alone.
        routing: image = each image takes the head its own logits name; batch = the published
            vote, by which a whole batch takes one head; or the name of a domain, whose head
            then answers always (the labeled router of the paper).
        encoder: As of zoedepth_n.
        encoder_options: As of zoedepth_n.
        hooks: As of zoedepth_n.
        neck_channels: As of zoedepth_n.
        features: Channels of the decoder.
        n_bins: Bins of each pixel.
        bin_embedding_dim: Channels of the bin embeddings and of the router.
        n_attractors: Points the centres are attracted to at each level; see the next.
        attractors_per_level: Use `n_attractors`; false = 16 at every level, as published.
        bin_centers_type: As of zoedepth_n.
        attractor_kind: As of zoedepth_n.
        attractor_type: As of zoedepth_n.
        router_ff: Hidden channels of the router's layers.
        pretrained: Start the encoder from timm's classification weights, which are downloaded.

    Raises:
        ConfigError: An option is out of range.
        ModelError: The encoder is unknown.
    """
    names = tuple(domains)
    check_domains(names, domain_max_depths, routing, min_depth=min_depth, max_depth=max_depth)
    check_router_channels(bin_embedding_dim)
    core = CoreOptions(
        encoder=encoder,
        encoder_options=encoder_options,
        hooks=hooks,
        neck_channels=neck_channels,
        features=features,
        pretrained=pretrained,
    )
    bins = BinOptions(
        n_bins=n_bins,
        embedding_dim=bin_embedding_dim,
        n_attractors=tuple(n_attractors) if attractors_per_level else (_ATTRACTORS,) * LEVELS,
        centres_type=bin_centers_type,
        aggregation=attractor_kind,
        attraction=attractor_type,
    )
    hidden = bin_embedding_dim // 2
    heads = {
        name: bins.head(
            features,
            HEAD_CHANNELS,  # without the relative depth, other than N and K
            depth_range=(min_depth, highest),
            seed_hidden=hidden,
            bottleneck=4,
        )
        for name, highest in zip(names, domain_max_depths, strict=True)
    }
    router = DomainRouter(
        features,
        bin_embedding_dim,
        len(names),
        layers=_ROUTER_LAYERS,
        heads=_ROUTER_HEADS,
        hidden_channels=router_ff,
    )
    embedding = BinEmbedding(
        (features,) * (1 + LEVELS), hidden=hidden, embedding_dim=bin_embedding_dim
    )
    spec = spec_of('zoedepth_nk', min_depth, max_depth, default_size=core.input_size((384, 512)))
    return ZoeDepthNK(spec, core.build(), embedding, heads, router, routing=routing)


def check_domains(
    names: Sequence[str],
    highest: Sequence[float],
    routing: str,
    *,
    min_depth: float,
    max_depth: float,
) -> None:
    """Refuse domains of which no network can be built.

    Raises:
        ConfigError: They are too few, alike, of depths that do not fit, or routed nowhere.
    """
    if len(names) < 2 or len(set(names)) < len(names) or len(highest) != len(names):  # noqa: PLR2004
        message = (
            f'domains {list(names)} with domain_max_depths {list(highest)}: give two or more '
            'different names and a depth for each.'
        )
        raise ConfigError(message)
    if not all(min_depth < depth <= max_depth for depth in highest):
        message = (
            f'domain_max_depths {list(highest)} do not lie between min_depth {min_depth} and '
            f'max_depth {max_depth}, metres.'
        )
        raise ConfigError(message)
    if routing not in (*ROUTINGS, *names):
        raise ConfigError(unknown_name('routing', routing, (*ROUTINGS, *names)))


def check_router_channels(bin_embedding_dim: int) -> None:
    """Refuse a width that the heads of the router cannot share.

    Raises:
        ConfigError: It is no multiple of 8.
    """
    if bin_embedding_dim % (2 * _ROUTER_HEADS):
        message = (
            f'bin_embedding_dim is {bin_embedding_dim}; give a multiple of {2 * _ROUTER_HEADS}, '
            f'for the router has {_ROUTER_HEADS} heads of whole channel pairs.'
        )
        raise ConfigError(message)
