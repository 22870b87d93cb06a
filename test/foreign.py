# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for public depth graphs: the interface of each, and an answer that is known.

Names, ranks, types, free sizes, normalisation and further inputs are those of the real graph, as
its authors' export writes them; nothing here is read from our presets. Instead of a network there
are a few nodes: they undo the normalisation and answer with a function of the colour alone. An
image that is normalised twice, in another colour order or not at all gives another answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TONE: Final = (0.5, 0.4, 0.1)
"""Share of red, green and blue in the tone that stand-ins answer with."""
NEAREST: Final = 4.0
"""What a stand-in answers for black, in the unit of its output."""
SPAN: Final = 4.0
"""White is this much more than black."""
SKY_GAIN: Final = 2.0
"""The sky output is this much times blue above one half."""
OWN_FOCAL_PX: Final = 1100.0
"""The focal length that a stand-in estimates itself, at the size of its input."""
TOKENS_M: Final = 1e-3
"""Metres in a unit of the points for each token that a stand-in of MoGe-2 is asked for."""
SHIFT: Final = 0.75
"""What is missing in the points of MoGe-2, in their unit."""
P_GAIN: Final = (1.0 / 700.0, 1.0 / 5000.0)
"""What a pixel of the focal length, and one of the principal point, adds to the factor of a
stand-in that is given P."""
RAY_GAIN: Final = (0.5, 0.25)
"""What the x and y of a unit ray change in the answer of a stand-in that is given rays."""

Dim: TypeAlias = int | str
Colour: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Normalisation outside of a graph: (code * scale - mean) / std."""

    scale: float = 1.0 / 255.0
    mean: Colour = (0.0, 0.0, 0.0)
    std: Colour = (1.0, 1.0, 1.0)


UNIT: Final = Pixels()
CODES: Final = Pixels(scale=1.0)
HALF: Final = Pixels(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
IMAGENET: Final = Pixels(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True, kw_only=True)
class View:
    """What a graph that must agree with a camera is made for: rays at relative positions."""

    x: tuple[float, float] = (1.0, -0.5)
    """x/z of a ray = first * (column + 0.5) / width + second."""
    y: tuple[float, float] = (1.0, -0.5)
    """y/z in the same way."""


class Net:
    """A graph in the making; every method returns the name of a tensor."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.size: tuple[Dim, Dim] = ('height', 'width')
        self.rgb = ''
        """[N, 3, H, W] in [0, 1]."""
        self.tone = ''
        """[N, 1, H, W] in [0, 1]."""

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f't{len(self.nodes)}'
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def number(self, value: object, dtype: type = np.float32) -> str:
        name = f'c{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def affine(self, tensor: str, gain: object, offset: object) -> str:
        return self.op('Add', self.op('Mul', tensor, self.number(gain)), self.number(offset))

    def take_image(
        self, name: str, pixels: Pixels, size: tuple[Dim, Dim], batch: Dim, dtype: int
    ) -> None:
        """Add the image input, and undo its normalisation."""
        self.size = size
        self.take(name, [batch, 3, *size], dtype)
        image = self.op('Cast', name, to=TensorProto.FLOAT)
        share = 1.0 / 255.0 / pixels.scale
        gain = np.array(pixels.std).reshape(1, 3, 1, 1) * share
        offset = np.array(pixels.mean).reshape(1, 3, 1, 1) * share
        self.rgb = self.affine(image, gain, offset)
        self.tone = self.mixed(TONE)

    def take(self, name: str, shape: Sequence[Dim], dtype: int = TensorProto.FLOAT) -> str:
        """Add an input."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def mixed(self, shares: Colour) -> str:
        """One channel of the image, or several mixed."""
        weights = np.array(shares).reshape(1, 3, 1, 1)
        return self.op('Conv', self.rgb, self.number(weights))

    def answer(self) -> str:
        """[N, 1, H, W]: what most graphs answer."""
        return self.affine(self.tone, SPAN, NEAREST)

    def flat(self, tensor: str) -> str:
        """[N, H, W] of [N, 1, H, W]."""
        return self.op('ReduceMean', tensor, axes=[1], keepdims=0)

    def each(self, value: str) -> str:
        """[N]: the same scalar for every image."""
        zeros = self.op('ReduceMean', self.rgb, axes=[1, 2, 3], keepdims=0)
        return self.op('Add', self.op('Mul', zeros, self.number(0.0)), value)

    def filled(self, shape: tuple[int, ...], value: object) -> str:
        """[N, *shape]: the same array for every image."""
        zeros = self.op('ReduceMean', self.rgb, axes=[1, 2, 3], keepdims=1)
        if len(shape) < 3:
            zeros = self.op('ReduceMean', zeros, axes=[3], keepdims=0)
        constant = self.number(np.broadcast_to(np.array(value), shape)[None])
        return self.op('Add', self.op('Mul', zeros, self.number(0.0)), constant)

    def sky(self) -> str:
        """[N, 1, H, W], 0 or more, high for blue."""
        return self.op('Relu', self.affine(self.mixed((0.0, 0.0, 1.0)), SKY_GAIN, -0.5 * SKY_GAIN))

    def along(self, axis: int, line: tuple[float, float]) -> str:
        """[N, 1, H, W]: first * (index + 0.5) / size + second along an axis."""
        ones = self.affine(self.tone, 0.0, 1.0)
        count = self.op('CumSum', ones, self.number(axis, np.int64))
        total = self.op('ReduceMax', count, axes=[axis], keepdims=1)
        place = self.op('Div', self.affine(count, 1.0, -0.5), total)
        return self.affine(place, *line)


Answers: TypeAlias = dict[str, tuple[str, tuple[Dim, ...]]]
Head: TypeAlias = Callable[[Net], Answers]
"""Adds what a graph answers; returns the tensor and the shape, without the batch, by name."""


def plane(name: str, *, rank: int = 4, further: Sequence[Head] = ()) -> Head:
    """The plain answer under a name."""

    def head(net: Net) -> Answers:
        answer = net.answer()
        given: Answers = {
            name: (answer, (1, *net.size)) if rank > 3 else (net.flat(answer), net.size)
        }
        for one in further:
            given.update(one(net))
        return given

    return head


def sky(*, rank: int = 4) -> Head:
    """The sky of Depth Anything 3."""
    return lambda net: {
        'sky': (net.sky(), (1, *net.size)) if rank > 3 else (net.flat(net.sky()), net.size)
    }


def camera_guess(net: Net) -> Answers:
    """The confidence and the camera of Depth Anything 3."""
    pose = np.eye(4)[:3].reshape(1, 3, 4)
    return {
        'depth_conf': (net.affine(net.tone, 1.0, 1.0), (1, *net.size)),
        'extrinsics': (net.filled((1, 3, 4), pose), (1, 3, 4)),
        'intrinsics': (net.filled((1, 3, 3), np.eye(3)[None] * OWN_FOCAL_PX), (1, 3, 3)),
    }


def normals(net: Net) -> Answers:
    """The further outputs of Metric3D v2 of onnx-community."""
    return {
        'predicted_normal': (net.affine(net.rgb, 1.0, 0.0), (3, *net.size)),
        'normal_confidence': (net.flat(net.tone), net.size),
    }


def own_focal(net: Net) -> Answers:
    """The focal length that Depth Pro of onnx-community used itself."""
    return {'focallength_px': (net.each(net.number(OWN_FOCAL_PX)), ())}


def inverse_canonical(net: Net) -> Answers:
    """Depth Pro as its network answers."""
    return {
        'canonical_inverse_depth': (net.op('Reciprocal', net.answer()), (1, *net.size)),
        'fov_deg': (net.each(net.number(55.0)), ()),
    }


def disparity(name: str) -> Head:
    """What comes of a sigmoid: monodepth2 and its relatives."""
    return lambda net: {name: (net.affine(net.tone, 0.6, 0.05), (1, *net.size))}


def points_first(net: Net) -> Answers:
    """UniDepth V2: points with channels first; the rays, where they are an input, change z."""
    z = net.answer()
    if any(item.name == 'rays' for item in net.inputs):
        gain = net.number(np.array((*RAY_GAIN, 0.0)).reshape(1, 3, 1, 1))
        z = net.op('Mul', z, net.affine(net.op('Conv', 'rays', gain), 1.0, 1.0))
    x, y = net.affine(z, 0.3, 0.0), net.affine(z, -1.0, 0.0)
    return {
        'pts_3d': (net.op('Concat', x, y, z, axis=1), (3, *net.size)),
        'confidence': (net.affine(net.tone, 1.0, 1.0), (1, *net.size)),
        'intrinsics': (net.filled((3, 3), np.eye(3) * OWN_FOCAL_PX), (3, 3)),
    }


def points_last(net: Net) -> Answers:
    """MoGe-2: points with channels last, but for a shift along z and a scale."""
    z = net.answer()
    x = net.op('Mul', z, net.along(3, net.view.x))
    y = net.op('Mul', z, net.along(2, net.view.y))
    points = net.op('Concat', x, y, net.affine(z, 1.0, -SHIFT), axis=1)
    tokens = net.op('Cast', 'num_tokens', to=TensorProto.FLOAT)
    above = net.op('Greater', net.mixed((0.0, 0.0, 1.0)), net.number(0.65))
    solid = net.flat(net.affine(net.op('Cast', above, to=TensorProto.FLOAT), -0.8, 0.9))
    return {
        'points': (net.op('Transpose', points, perm=[0, 2, 3, 1]), (*net.size, 3)),
        'normal': (net.op('Transpose', net.rgb, perm=[0, 2, 3, 1]), (*net.size, 3)),
        'mask': (solid, net.size),
        'metric_scale': (net.each(net.op('Mul', tokens, net.number(TOKENS_M))), ()),
    }


def scaled_by_p(name: str) -> Head:
    """FSNet: the answer grows with fx, cx and cy of the P it is given."""

    def head(net: Net) -> Answers:
        weights = np.zeros((1, 3, 4))
        weights[0, 0, 0], weights[0, 0, 2], weights[0, 1, 2] = (P_GAIN[0], P_GAIN[1], P_GAIN[1])
        mean = net.op(
            'ReduceMean', net.op('Mul', 'P2', net.number(weights)), axes=[1, 2], keepdims=1
        )
        factor = net.affine(mean, float(weights.size), 0.0)
        return {name: (net.op('Mul', net.answer(), factor), (1, *net.size))}

    return head


@dataclass(frozen=True, kw_only=True)
class Standin:
    """The interface of one public graph."""

    image: str
    head: Head
    pixels: Pixels = IMAGENET
    size: tuple[int, int] | None = None
    """Height and width; None where they are free."""
    batch: int | None = 1
    """None where it is free."""
    opset: int = 17
    further: Mapping[str, tuple[tuple[Dim, ...], int]] = field(default_factory=dict)
    """Shape and type of each input beside the image."""
    dtype: int = TensorProto.FLOAT

    def write(self, path: Path, view: View = View()) -> Path:
        """Write the graph, without a manifest."""
        net = Net(view)
        batch: Dim = self.batch or 'batch'
        size: tuple[Dim, Dim] = self.size or ('height', 'width')
        net.take_image(self.image, self.pixels, size, batch, self.dtype)
        for name, (shape, dtype) in self.further.items():
            net.take(name, shape, dtype)
        outputs = []
        for name, (tensor, shape) in self.head(net).items():
            net.nodes.append(helper.make_node('Identity', [tensor], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *shape]))
        graph = helper.make_graph(net.nodes, 'standin', net.inputs, outputs, net.constants)
        opsets = [helper.make_opsetid('', self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path


_TOKENS: Final[Mapping[str, tuple[tuple[Dim, ...], int]]] = {'num_tokens': ((), TensorProto.INT64)}
_P2: Final[Mapping[str, tuple[tuple[Dim, ...], int]]] = {'P2': ((1, 3, 4), TensorProto.FLOAT)}
_RAYS: Final[Mapping[str, tuple[tuple[Dim, ...], int]]] = {
    'rays': ((1, 3, 462, 630), TensorProto.FLOAT)
}
_COMMUNITY: Final = Standin(
    image='pixel_values', head=plane('predicted_depth', rank=3), batch=None
)
_FABIO_SIM: Final = Standin(image='image', head=plane('depth', rank=3))
_DA3: Final = Standin(
    image='image', head=plane('depth', further=[camera_guess]), size=(504, 504), batch=None
)
_METRIC3D: Final = Standin(
    image='image', head=plane('pred_depth'), pixels=CODES, size=(616, 1064), opset=11
)
_HEAD_DISPARITY: Final = disparity('disp')

STANDINS: Final[Mapping[str, Standin]] = {
    'depth_anything_v2_small': _COMMUNITY,
    'depth_anything_v2_base': _COMMUNITY,
    'depth_anything_v2_large': _COMMUNITY,
    'depth_anything_v2_small_fabio_sim': _FABIO_SIM,
    'depth_anything_v2_base_fabio_sim': _FABIO_SIM,
    'depth_anything_v2_large_fabio_sim': _FABIO_SIM,
    'depth_anything_v2_metric_indoor': _FABIO_SIM,
    'depth_anything_v2_metric_outdoor': _FABIO_SIM,
    'depth_anything_3_metric': Standin(
        image='image', head=plane('depth', further=[sky()]), size=(504, 504), batch=None
    ),
    'depth_anything_3_metric_280x504': Standin(
        image='image', head=plane('depth', further=[sky()]), size=(280, 504), batch=None, opset=20
    ),
    'depth_anything_3_base': _DA3,
    'depth_anything_3_small': _DA3,
    'depth_anything_3_mono': Standin(
        image='image', head=plane('depth', rank=3, further=[sky(rank=3)]), size=(378, 504)
    ),
    'metric3d_v2': _METRIC3D,
    'metric3d_v2_convnext': Standin(
        image='image', head=plane('pred_depth'), pixels=CODES, size=(544, 1216), opset=11
    ),
    'metric3d_v2_onnx_community': Standin(
        image='pixel_values',
        head=plane('predicted_depth', rank=3, further=[normals]),
        pixels=CODES,
        batch=None,
    ),
    'depth_pro': Standin(
        image='pixel_values',
        head=plane('predicted_depth', rank=3, further=[own_focal]),
        pixels=HALF,
        size=(1536, 1536),
        batch=None,
    ),
    'depth_pro_raw': Standin(
        image='input', head=inverse_canonical, pixels=HALF, size=(1536, 1536)
    ),
    'midas_small': Standin(
        image='0', head=plane('797', rank=3), pixels=UNIT, size=(256, 256), opset=9
    ),
    'midas_large': Standin(
        image='0', head=plane('1195', rank=3), pixels=UNIT, size=(384, 384), opset=9
    ),
    'dpt_large': Standin(
        image='pixel_values',
        head=plane('predicted_depth', rank=3),
        pixels=HALF,
        size=(384, 384),
        batch=None,
    ),
    'zoedepth_nk': Standin(
        image='pixel_values', head=plane('predicted_depth', rank=3), pixels=HALF, batch=None
    ),
    'unidepth_v2': Standin(image='rgbs', head=points_first, size=(462, 630), opset=14),
    'unidepth_v2_camera': Standin(
        image='rgbs', head=points_first, size=(462, 630), opset=14, further=_RAYS
    ),
    'moge_2': Standin(image='image', head=points_last, pixels=UNIT, batch=None, further=_TOKENS),
    'fastdepth': Standin(
        image='input', head=plane('output'), pixels=UNIT, size=(256, 320), opset=11
    ),
    'lite_mono': Standin(
        image='input', head=_HEAD_DISPARITY, pixels=UNIT, size=(192, 640), opset=11
    ),
    'monodepth2_stereo': Standin(
        image='input', head=_HEAD_DISPARITY, pixels=UNIT, size=(192, 640), opset=10
    ),
    'fsnet': Standin(image='image', head=scaled_by_p('depth'), size=(384, 1280), further=_P2),
    'zipdepth': Standin(image='image', head=plane('depth'), pixels=UNIT, size=(384, 512)),
}
"""The public graphs by the name of their preset."""
