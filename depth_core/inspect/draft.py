# SPDX-License-Identifier: Apache-2.0
"""A manifest as far as a graph itself says what stands in one; the rest is left blank.

A blank is a text that begins with `BLANK`, where a number or one of a few words belongs, so that
reading the manifest refuses it and says what to give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from depth_core.runtime.graph import TensorInfo
from depth_core.runtime.onnx_graph import OnnxGraph

BLANK: Final = 'FILL IN'

_IMAGE_RANK: Final = 4
_PLANE_RANKS: Final = (2, 3, 4)
_FEW: Final = (2, 3, 4)
"""Planes of one output: more of them would be rows or columns."""
_DEPTH_NAMES: Final = ('depth', 'disp', 'point', 'pts', 'inverse')
_MATRICES: Final[Mapping[tuple[int | None, ...], str]] = {(3, 3): 'K3x3', (3, 4): 'P3x4'}


def draft_manifest(name: str, graph: OnnxGraph) -> dict[str, Any]:
    """Draft the manifest of a graph, as the JSON of one.

    Args:
        name: What to call it.
        graph: What the file says.
    """
    image = _find_image(graph.inputs)
    depth = _find_depth(graph.outputs)
    draft: dict[str, Any] = {
        'version': 2,
        'name': name,
        'graph': {'opset': graph.opset},
        'input': _blank_input() if image is None else _input(image),
    }
    if graph.external_files:
        draft['graph']['external_data'] = list(graph.external_files)
    extra = [_extra(item, image) for item in graph.inputs if item is not image]
    if extra:
        draft['extra_inputs'] = extra
    draft['depth'] = {
        'output': _blank('the name of the output that holds depth')
        if depth is None
        else depth.name,
        **_depth(depth),
    }
    return draft


def adapt_preset(content: Mapping[str, Any], graph: OnnxGraph) -> dict[str, Any]:
    """Bring a preset to another export of its network: sizes, types and ranks of the graph.

    Names are not touched, and neither is what the numbers mean.

    Args:
        content: The JSON of the preset.
        graph: What the file says.
    """
    adapted = dict(content)
    inputs = {item.name: item for item in graph.inputs}
    image = inputs.get(adapted['input']['name'])
    if image is not None:
        adapted['input'] = _adapt_input(adapted['input'], image)
    extra = [item for item in adapted.pop('extra_inputs', ()) if item['name'] in inputs]
    if extra:
        adapted['extra_inputs'] = extra
    depth = next((i for i in graph.outputs if i.name == adapted['depth']['output']), None)
    if depth is not None and depth.shape is not None:
        adapted['depth'] = {**adapted['depth'], 'rank_hint': len(depth.shape)}
    about = {**adapted.get('graph', {}), 'opset': graph.opset}
    if graph.external_files:
        about['external_data'] = list(graph.external_files)
    adapted['graph'] = about
    return adapted


def _adapt_input(content: Mapping[str, Any], image: TensorInfo) -> dict[str, Any]:
    adapted = {**content, 'dtype': image.dtype}
    layout = _layout(image)
    if layout is None or image.shape is None:
        return adapted
    adapted['layout'] = layout
    batch, *sides = image.shape
    height, width = sides[1:] if layout == 'NCHW' else sides[:2]
    adapted['batch'] = 0 if batch is None else batch
    if height is not None and width is not None:
        adapted['size'] = {'fixed': [height, width]}
        if adapted.get('resize') == 'keep_aspect':  # it has one size now
            adapted['resize'] = 'stretch'
    return adapted


def _blank(what: str) -> str:
    return f'{BLANK}: {what}'


def _find_image(inputs: Sequence[TensorInfo]) -> TensorInfo | None:
    """The input with three planes, channels first or last."""
    return next((item for item in inputs if _layout(item) is not None), None)


def _layout(item: TensorInfo) -> str | None:
    if item.shape is None or len(item.shape) != _IMAGE_RANK:
        return None
    if item.shape[1] == 3:  # noqa: PLR2004  red, green, blue
        return 'NCHW'
    return 'NHWC' if item.shape[3] == 3 else None  # noqa: PLR2004  as above


def _blank_input() -> dict[str, Any]:
    return {
        'name': _blank('the name of the input that holds the image'),
        'layout': _blank('NCHW or NHWC'),
        'dtype': _blank('float32, float16 or uint8'),
        **_pixels(),
        'size': _blank('{"fixed": [height, width]}'),
        'resize': _blank('stretch, keep_aspect, letterbox or crop'),
    }


def _pixels() -> dict[str, Any]:
    return {
        'colour': _blank('RGB or BGR'),
        'scale': _blank('what multiplies codes 0..255 first: 0.00392156862745098 or 1'),
        'mean': _blank('three numbers, subtracted then; [0, 0, 0] for none'),
        'std': _blank('three numbers, divided by then; [1, 1, 1] for none'),
    }


def _input(image: TensorInfo) -> dict[str, Any]:
    layout = _layout(image)
    assert image.shape is not None  # noqa: S101  for the type checker: it has a layout
    batch, *sides = image.shape
    height, width = sides[1:] if layout == 'NCHW' else sides[:2]
    fixed = height is not None and width is not None
    pixels = _pixels() if image.dtype != 'uint8' else {'colour': _blank('RGB or BGR')}
    return {
        'name': image.name,
        'layout': layout,
        'dtype': image.dtype,
        **pixels,
        'size': {'fixed': [height, width]}
        if fixed
        else {
            'mode': _blank('short, long or pixels, for what target is'),
            'target': _blank('pixels'),
            'multiple': _blank('what height and width are multiples of'),
        },
        'resize': _blank('stretch, letterbox or crop') if fixed else _blank('keep_aspect'),
        'batch': 0 if batch is None else batch,
    }


def _extra(item: TensorInfo, image: TensorInfo | None) -> dict[str, Any]:
    shape = item.shape
    matrix = None if shape is None else _MATRICES.get(shape[-2:])
    if matrix is not None:
        return {
            'name': item.name,
            'kind': matrix,
            'at': _blank('network or camera'),
        }
    if image is not None and _layout(item) is not None:
        return {'name': item.name, 'kind': 'rays_unit', 'layout': _layout(item)}
    if item.dtype.startswith(('int', 'uint')):
        return {
            'name': item.name,
            'kind': 'const',
            'value': _blank('a number'),
            'dtype': item.dtype,
        }
    return {'name': item.name, 'kind': _blank('K3x3, P3x4, rays_unit, focal or const')}


def _find_depth(outputs: Sequence[TensorInfo]) -> TensorInfo | None:
    """The likeliest output by its name and rank."""
    planes = [item for item in outputs if item.shape is None or len(item.shape) in _PLANE_RANKS]
    for word in _DEPTH_NAMES:
        for item in planes:
            if word in item.name.casefold():
                return item
    return planes[0] if len(planes) == 1 else None


def _depth(depth: TensorInfo | None) -> dict[str, Any]:
    """What the section of the depth says beside its output."""
    content: dict[str, Any] = {}
    if depth is not None and depth.shape is not None:
        content['rank_hint'] = len(depth.shape)
        axis = _plane_axis(depth.shape)
        if axis is not None:
            content['channel'] = {'axis': axis, 'index': _blank('which plane holds depth, from 0')}
    return content | {
        'kind': _blank(
            'metric, canonical, inverse_canonical, up_to_scale, inverse_affine or '
            'sigmoid_disparity'
        ),
        'unit_m': _blank('metres in one unit; 1 for metres'),
        'min_m': _blank('nearest depth it can state, metres'),
        'max_m': _blank('farthest depth it can state, metres'),
    }


def _plane_axis(shape: tuple[int | None, ...]) -> int | None:
    """The axis of several planes, as of points; None where there is one plane."""
    if len(shape) != _IMAGE_RANK:
        return None
    return next((axis for axis in (1, 3) if shape[axis] in _FEW), None)
