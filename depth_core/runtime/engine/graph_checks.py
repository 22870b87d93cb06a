# SPDX-License-Identifier: Apache-2.0
"""What a TensorRT computes wrong or cannot build, by version, and the refusal before it tries.

A graph that is refused by the parser costs a minute; one that is built and answers wrong costs
the trust. Each row of `LIMITS` is one such thing: what it is, in which versions, why, and what
helps. Rows that only warn leave the judgement to the comparison of the engine with its graph.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from depth_core.errors import BackendError
from depth_core.manifest import Manifest
from depth_core.runtime.backends.base import Precision
from depth_core.runtime.engine import graph_patterns as patterns
from depth_core.runtime.engine.graph_patterns import LARGEST_TOPK, Pattern, Subject
from depth_core.runtime.engine.options import Flavour
from depth_core.runtime.onnx_graph import Node, OnnxGraph

_logger = logging.getLogger(__name__)

Release: TypeAlias = tuple[int, ...]
Span: TypeAlias = tuple[Release, Release]
"""From this release on, and before that one."""

_FIRST: Final[Release] = (0,)
_OPEN: Final[Release] = (1_000_000,)
_ALL: Final[Mapping[Flavour, Span]] = {
    'tensorrt': (_FIRST, _OPEN),
    'tensorrt-rtx': (_FIRST, _OPEN),
}
_SHOWN_NODES: Final = 3

OPSETS: Final[Mapping[Flavour, tuple[tuple[Release, int], ...]]] = {
    'tensorrt': (((8,), 17), ((9,), 19), ((10,), 20), ((10, 9), 24), ((11,), 25)),
    'tensorrt-rtx': (((1,), 24), ((1, 5), 25)),
}
"""The latest opset that the parser knows, from each release on; a later one is read as if it were
that one, whatever has changed since."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One thing that some versions compute wrong or cannot build."""

    what: str
    found: Pattern
    versions: Mapping[Flavour, Span]
    """Where it is so; a flavour that is not named has no such limit."""
    reason: str
    remedy: str
    precisions: tuple[Precision, ...] | None = None
    """In which it matters; None is all."""
    refused: bool = True
    """Whether nothing is built; else it is only said in the log."""


def _before(*, trt: Release | None = None, rtx: Release | None = None) -> dict[Flavour, Span]:
    spans: dict[Flavour, Span] = {}
    if trt is not None:
        spans['tensorrt'] = (_FIRST, trt)
    if rtx is not None:
        spans['tensorrt-rtx'] = (_FIRST, rtx)
    return spans


LIMITS: Final[tuple[Limit, ...]] = (
    Limit(
        what='GridSample of opset 20 and later',
        found=patterns.renamed_grid_sample,
        versions=_before(trt=(11, 2), rtx=(1, 6)),
        reason='the parser takes `linear` and `cubic`, names since opset 20, for `nearest`',
        remedy='export at opset 16 to 19, where they are `bilinear` and `bicubic`',
    ),
    Limit(
        what='GridSample of volumes',
        found=patterns.volume_grid_sample,
        versions=_before(trt=(11, 2, 1), rtx=(1, 6)),
        reason='only images can be sampled before TensorRT 11.2.1 and RTX 1.6',
        remedy='gather the slices with Gather, or take a newer TensorRT',
    ),
    Limit(
        what='ScatterND with a stated reduction of none',
        found=patterns.scatter_says_none,
        versions={'tensorrt': ((10,), (10, 9))},
        reason='the parser of 10.0 to 10.8 refuses the attribute whatever it says',
        remedy='remove the attribute, or write no slices in place: concatenate or use where',
    ),
    Limit(
        what='ScatterND with a reduction',
        found=patterns.scatter_reduces,
        versions=_ALL,
        reason='no version reduces, and TensorRT 8 leaves the reduction out without a word',
        remedy='express the sum as a product with a one-hot matrix',
    ),
    Limit(
        what='ScatterElements with a reduction',
        found=patterns.scatter_elements_reduces,
        versions={**_before(trt=(10,)), 'tensorrt-rtx': _ALL['tensorrt-rtx']},
        reason='it does not reduce',
        remedy='express the sum as a product with a one-hot matrix',
    ),
    Limit(
        what='an operation on uint8',
        found=patterns.uint8_inside,
        versions=_ALL,
        reason='uint8 may only be cast, right at an input or output of the graph',
        remedy='cast the image to float before anything else; python -m depth_core.export does',
    ),
    Limit(
        what='Resize with antialias, a kept aspect or a crop',
        found=patterns.unsupported_resize,
        versions=_ALL,
        reason='it only stretches, without a filter',
        remedy='interpolate without antialias to a stated size',
    ),
    Limit(
        what='an operator that TensorRT does not have',
        found=patterns.never_supported,
        versions=_ALL,
        reason='no version can build it',
        remedy='express it with others (Col2Im as ConvTranspose, AffineGrid on the host)',
    ),
    Limit(
        what='the operator Attention',
        found=patterns.attention_operator,
        versions={**_before(trt=(10, 14)), 'tensorrt-rtx': _ALL['tensorrt-rtx']},
        reason='TensorRT before 10.14 lacks it, and the builder of RTX crashes on it',
        remedy='export at opset 22 or earlier, where attention is MatMul, Softmax, MatMul',
    ),
    Limit(
        what='attention in fp16',
        found=patterns.half_attention,
        versions={'tensorrt': ((10, 3), (10, 5))},
        precisions=('fp16',),
        reason='10.3 (JetPack 6.1 and 6.2) and 10.4 fuse it into kernels that answer wrong or '
        'NaN, reported for the Transformers of Depth Anything and DINO',
        remedy='take fp32, whose engine is compared with the graph, or TensorRT 10.8 or later '
        '(JetPack 7)',
    ),
    Limit(
        what='attention',
        found=patterns.attention,
        versions={'tensorrt': ((10, 3), (10, 8))},
        reason='some Transformers answer wrong in TensorRT 10.3 to 10.7, even in fp32',
        remedy='the engine is compared with the graph before it is used; 10.8 and later are right',
        refused=False,
    ),
    Limit(
        what=f'TopK of more than {LARGEST_TOPK}',
        found=patterns.large_topk,
        versions=_ALL,
        reason=f'it sorts at most {LARGEST_TOPK} elements',
        remedy='take fewer',
    ),
    Limit(
        what='ReduceLogSumExp in fp16',
        found=patterns.half_log_sum_exp,
        versions=_ALL,
        precisions=('fp16',),
        reason='the largest element is not subtracted first, and exp overflows above 11.09',
        remedy='keep it in fp32, as python -m depth_core.export --precision fp16 does',
        refused=False,
    ),
    Limit(
        what='quantisation with a zero point, to uint8, or of a bias',
        found=patterns.quantized_for_processors,
        versions=_ALL,
        reason='on GPUs it is symmetric: a zero point is refused, half of the codes of uint8 '
        'saturate in int8, and DequantizeLinear takes no int32',
        remedy='quantise for TensorRT: python -m depth_core.export --precision int8',
    ),
    Limit(
        what='a reduction over axes that are an input',
        found=patterns.reduction_over_stated_axes,
        versions=_before(trt=(9,)),
        reason='TensorRT 8 overlooks them and reduces over everything',
        remedy='export at opset 17 or earlier, where axes are an attribute',
    ),
    Limit(
        what='LayerNormalization or GroupNormalization',
        found=patterns.layer_normalization,
        versions=_before(trt=(8, 6)),
        reason='TensorRT 8.5 lacks both operators',
        remedy='export at opset 16, where they are expressed with others',
    ),
    Limit(
        what='GroupNormalization of opset 21 and later',
        found=patterns.channel_group_normalization,
        versions=_before(trt=(10, 9)),
        reason='its scales are taken for those of groups, as before opset 21',
        remedy='export at opset 20 or earlier',
    ),
    Limit(
        what='Einsum with an ellipsis',
        found=patterns.einsum_ellipsis,
        versions=_before(trt=(10,)),
        reason='TensorRT 8 needs every axis named',
        remedy='name the axes, or use MatMul',
    ),
)


def check_oldest(manifest: Manifest, *, flavour: Flavour, release: Release) -> None:
    """Refuse a graph whose manifest asks for a later TensorRT; RTX has numbers of its own.

    Raises:
        BackendError: Names the release that is needed.
    """
    oldest = manifest.graph.min_trt
    if flavour == 'tensorrt' and oldest and release < tuple(map(int, oldest.split('.'))):
        message = (
            f'graph.min_trt of {manifest.name} is {oldest}, and TensorRT '
            f'{".".join(map(str, release))} is older: it is known to compute the graph wrong; '
            'install that or a later one, or take another backend.'
        )
        raise BackendError(message)


def check_operators(
    graph: OnnxGraph, *, flavour: Flavour, release: Release, precision: Precision
) -> list[str]:
    """Refuse a graph that this TensorRT would compute wrong or could not build.

    Args:
        graph: What is to be built.
        flavour: TensorRT or TensorRT-RTX.
        release: The numbers of its version, as `TensorRt.release` gives them.
        precision: What the graph computes in.

    Returns:
        What is doubtful, a sentence each; it has been logged.

    Raises:
        BackendError: The graph holds what `LIMITS` refuses, or is of a later opset than the
            parser knows. All of it is named.
    """
    version = '.'.join(map(str, release))
    subject = Subject(graph)
    refusals = _opset_refusals(graph, flavour, release)
    warnings: list[str] = []
    for limit in LIMITS:
        first, end = limit.versions.get(flavour, (_OPEN, _OPEN))
        if not first <= release < end:
            continue
        if limit.precisions is not None and precision not in limit.precisions:
            continue
        nodes = list(limit.found(subject))
        if nodes:
            said = f'{limit.what} ({_listed(nodes)}): {limit.reason}; {limit.remedy}'
            (refusals if limit.refused else warnings).append(said)
    for said in warnings:
        _logger.warning('%s %s: %s', flavour, version, said)
    if refusals:
        message = f'{flavour} {version} must not build this graph: ' + '. '.join(refusals) + '.'
        raise BackendError(message)
    return warnings


def _opset_refusals(graph: OnnxGraph, flavour: Flavour, release: Release) -> list[str]:
    known = [opset for since, opset in OPSETS[flavour] if release >= since]
    if not known or graph.opset <= known[-1]:
        return []
    said = (
        f'the graph is of opset {graph.opset}, and its parser knows opsets up to {known[-1]}: it '
        'would read operators as they were then; export at that opset (networks of this package: '
        'depth_core.export --opset 17), or take a newer TensorRT'
    )
    return [said]


def _listed(nodes: Iterable[Node]) -> str:
    names = [str(node) for node in nodes]
    more = f' and {len(names) - _SHOWN_NODES} more' if len(names) > _SHOWN_NODES else ''
    return ', '.join(names[:_SHOWN_NODES]) + more
