# SPDX-License-Identifier: Apache-2.0
"""The JSON that travels with a graph: what it takes, what its numbers mean, where it comes from.

An exported ONNX file carries its manifest twice: in its metadata under `METADATA_KEY` and beside
it as `<stem>.json`. A foreign graph gets one by hand; `EXAMPLE` shows the few keys that needs.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from depth_core.contracts import InputSpec, OutputSpec
from depth_core.errors import ConfigError, ModelError, unknown_name
from depth_core.files import read_text, write_text_atomically
from depth_core.onnx_file import read_metadata

METADATA_KEY: Final = 'depth_ros.manifest'
"""Key of the manifest in the metadata of an ONNX file."""

SUFFIX: Final = '.json'
"""What the manifest beside a graph ends with."""

EXAMPLE: Final = """{
  "name": "my_network",
  "input": {"name": "input", "height": 256, "width": 320, "layout": "NCHW", "dtype": "float32",
            "channels": "RGB", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
  "output": {"depth": "output", "sigma": null, "kind": "metric", "min_depth": 0.1,
             "max_depth": 80.0, "unit_m": 1.0}
}"""
"""The least a hand-written manifest says; `kind` is metric, up_to_scale or inverse."""

_logger = logging.getLogger(__name__)


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
class Manifest:
    """What travels with a graph. Only `name`, `input` and `output` are needed to run it."""

    name: str
    """Registry name of the model, or any name for a foreign graph."""
    input: InputSpec
    output: OutputSpec
    family: str = ''
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword options the network was created with."""
    divisor: int = 1
    """Height and width given at export had to be multiples of this."""
    licence: str = ''
    """Licence of the weights."""
    weights_sha256: str = ''
    """SHA-256 over the names, shapes and values of the weights."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Provenance of the weights, as their checkpoint states it."""
    parity: Parity | None = None
    """The proof made at export; None for foreign graphs."""
    precision: Literal['fp32', 'fp16', 'int8'] = 'fp32'
    """What most of the graph computes in; inputs and outputs keep their types."""
    precision_target: Literal['', 'tensorrt', 'cpu'] = ''
    """For int8: whose rules of quantisation the graph keeps to."""
    calibration: str = ''
    """The images whose activations decided what keeps fp32 and the scales of int8, in words."""
    precision_error: PrecisionError | None = None
    """Measured when a graph of lower precision was made; None for fp32."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of this package and of the tools that made the graph."""
    format: Literal[1] = 1
    """Version of this file format."""

    def __post_init__(self) -> None:
        # Tuples, paths and enums become what JSON gives back, so that a round trip is exact.
        for key in ('options', 'training', 'versions'):
            object.__setattr__(self, key, plain(getattr(self, key)))

    def to_json(self) -> str:
        """Write the manifest as indented JSON text, ending in a newline."""
        text = json.dumps(plain(self), indent=2, allow_nan=False, ensure_ascii=False) + '\n'
        # Provenance may hold a path that is no UTF-8; an ONNX file takes nothing else.
        return text.encode('utf-8', 'backslashreplace').decode('utf-8')

    @classmethod
    def from_json(cls, text: str, *, source: str = 'manifest') -> Manifest:
        """Read a manifest from JSON text.

        Args:
            text: The JSON.
            source: Where it comes from, for the error message.

        Raises:
            ConfigError: It is no JSON, a key is unknown (the nearest is named) or missing, or a
                value has the wrong type or range.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            message = f'{source} is not JSON: {error}. A manifest looks like this:\n{EXAMPLE}'
            raise ConfigError(message) from error
        try:
            manifest: Manifest = _build(cls, content, '')
        except ConfigError as error:
            message = f'{source}: {error}'
            raise ConfigError(message) from error
        return manifest


def manifest_path(path: Path | str) -> Path:
    """Where the manifest beside the graph `path` stands."""
    return Path(path).with_suffix(SUFFIX)


def read_manifest(path: Path | str) -> Manifest:
    """Read the manifest at `path`, or the one of the ONNX file at `path`.

    For an ONNX file the embedded manifest counts; the file beside it is read when there is none
    inside, as for a foreign graph. Neither an ONNX library nor a runtime is needed.

    Raises:
        ConfigError: The manifest is not valid.
        ModelError: The file is missing, is not ONNX, is truncated, or has no manifest.
    """
    path = Path(path)
    beside = manifest_path(path)
    if path.suffix == SUFFIX:
        if not path.is_file():
            message = f'manifest {path} does not exist; check the path.'
            raise ModelError(message)
        return Manifest.from_json(_read_text(path), source=str(path))
    embedded = read_metadata(path).get(METADATA_KEY)
    if embedded is None:
        if not beside.is_file():
            message = (
                f'{path} has no manifest: neither {METADATA_KEY} in its metadata nor {beside}. '
                f'Write {beside.name} to say what the graph takes and gives, for example:\n'
                f'{EXAMPLE}'
            )
            raise ModelError(message)
        return Manifest.from_json(_read_text(beside), source=str(beside))
    if beside.is_file() and _read_text(beside).strip() != embedded.strip():
        _logger.warning('%s differs from the manifest inside %s, which counts', beside, path.name)
    return Manifest.from_json(embedded, source=f'{METADATA_KEY} in {path}')


def write_manifest(path: Path | str, manifest: Manifest) -> None:
    """Write `manifest` to `path`, which appears complete or not at all."""
    write_text_atomically(Path(path), manifest.to_json())


def _read_text(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeError) as error:
        message = f'manifest {path} cannot be read as UTF-8 text: {error}; write it again.'
        raise ModelError(message) from error


def plain(value: object, *, not_finite: Callable[[float], object] = str) -> Any:  # noqa: ANN401  whatever JSON can say
    """Return `value` in the types that reading its JSON gives back.

    Args:
        value: Dataclasses, mappings, sequences, enums and scalars, in any nesting.
        not_finite: What a float becomes that JSON has no number for.
    """
    inner = partial(plain, not_finite=not_finite)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: inner(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): inner(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner(item) for item in value]
    if isinstance(value, Enum):
        return inner(value.value)
    if isinstance(value, float):
        return value if math.isfinite(value) else not_finite(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _build(kind: Any, content: object, where: str) -> Any:  # noqa: ANN401  any field type
    """Make a value of type `kind` from JSON `content`; `where` is its dotted key."""
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, content, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        inner = next(item for item in arguments if item is not type(None))
        return None if content is None else _build(inner, content, where)
    if origin is Literal:
        if content not in arguments or isinstance(content, bool):
            _refuse(where, content, 'one of ' + ', '.join(map(repr, arguments)))
        return content
    if origin is tuple:
        if not isinstance(content, list) or len(content) != len(arguments):
            _refuse(where, content, f'a list of {len(arguments)} numbers')
        pairs = zip(arguments, content, strict=True)
        return tuple(_build(item, value, where) for item, value in pairs)
    if origin is not None:
        if not isinstance(content, dict):
            _refuse(where, content, 'an object in braces')
        return content
    return _build_scalar(kind, content, where)


def _build_dataclass(kind: Any, content: object, where: str) -> Any:  # noqa: ANN401  as `_build`
    if not isinstance(content, dict):
        _refuse(where or 'the manifest', content, 'an object in braces')
    hints = typing.get_type_hints(kind)
    own = {item.name: item for item in dataclasses.fields(kind)}
    prefix = f'{where}.' if where else ''
    for key in content:
        if key not in own:
            raise ConfigError(unknown_name('key', f'{prefix}{key}', (prefix + k for k in own)))
    missing = [
        f'{prefix}{name}'
        for name, item in own.items()
        if name not in content
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        message = f'key {", ".join(missing)} is missing. The least a manifest says is:\n{EXAMPLE}'
        raise ConfigError(message)
    return kind(
        **{key: _build(hints[key], value, f'{prefix}{key}') for key, value in content.items()}
    )


def _build_scalar(kind: Any, content: object, where: str) -> Any:  # noqa: ANN401  as `_build`
    if isinstance(kind, type) and issubclass(kind, Enum):
        known = [item.value for item in kind]
        if content not in known:
            _refuse(where, content, 'one of ' + ', '.join(map(repr, known)))
        return kind(content)
    if kind is float:
        if isinstance(content, bool) or not isinstance(content, (int, float)):
            _refuse(where, content, 'a number')
        if not math.isfinite(content):
            _refuse(where, content, 'a finite number')
        return float(content)
    if isinstance(content, bool) or not isinstance(content, kind):
        _refuse(where, content, {int: 'a whole number', str: 'text in quotes'}[kind])
    return content


def _refuse(where: str, content: object, rule: str) -> typing.NoReturn:
    message = f'{where} is {json.dumps(content)}; give {rule}.'
    raise ConfigError(message)
