# SPDX-License-Identifier: Apache-2.0
"""The manifest: what a graph takes, what its numbers mean, where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from depth_core.contracts import DepthKind, InputSpec, OutputSpec
from depth_core.documents import DocumentError, parse_json
from depth_core.errors import ConfigError
from depth_core.manifest.measured import CalibratedSigma, Parity, PrecisionError
from depth_core.manifest.reading import content_of, plain, read_content
from depth_core.manifest.sections import (
    AuxSection,
    Confidence,
    DomainSection,
    ExtraInput,
    GraphSection,
    Mask,
)

EXAMPLE: Final = """{
  "version": 2,
  "name": "my_network",
  "input": {"name": "input", "size": {"fixed": [256, 320]}, "layout": "NCHW", "dtype": "float32",
            "colour": "RGB", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
  "depth": {"output": "output", "kind": "metric", "min_m": 0.1, "max_m": 80.0, "unit_m": 1.0}
}"""
"""The least a hand-written manifest says."""
EXAMPLE_LINE: Final = ' '.join(EXAMPLE.split())
"""The same for a message."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What travels with a graph. Only `name`, `input` and `output` are needed to run it."""

    name: str
    """Registry name of the model, or any name for a foreign graph."""
    input: InputSpec
    output: OutputSpec
    graph: GraphSection = field(default_factory=GraphSection)
    extra_inputs: tuple[ExtraInput, ...] = ()
    masks: tuple[Mask, ...] = ()
    confidence: Confidence | None = None
    """Where it is a standard deviation in the unit of the depth, `output.sigma` names it."""
    aux: AuxSection = field(default_factory=AuxSection)
    domain: DomainSection = field(default_factory=DomainSection)
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
    sigma_calibration: CalibratedSigma | None = None
    """How sigma was corrected in the graph, where `evaluate --calibrate` did."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of this package and of the tools that made the graph."""

    def __post_init__(self) -> None:
        # Tuples, paths and enums become what JSON gives back, so that a round trip is exact.
        for key in ('options', 'training', 'versions'):
            object.__setattr__(self, key, plain(getattr(self, key)))
        self._settle_confidence()
        if not self.domain.publish_metric and self.output.kind.is_metric:
            relative = replace(
                self.output,
                kind=DepthKind.UP_TO_SCALE,
                canonical_focal_px=None,
                own_focal_output=None,
                fov_output=None,
                shift='none',
            )
            object.__setattr__(self, 'output', relative)
        self._check_divisor()
        self._check_names()

    def _settle_confidence(self) -> None:
        """A confidence that is the sigma of the depth has its place in `output`."""
        stated = self.confidence
        if stated is None:
            return
        if self.output.sigma not in {None, stated.output}:
            message = (
                f'confidence.output is {stated.output!r} and output.sigma is '
                f'{self.output.sigma!r}; a graph has one of them: set sigma to null.'
            )
            raise ConfigError(message)
        sigma = stated.output if stated.meaning == 'sigma_m' else None
        object.__setattr__(self, 'output', replace(self.output, sigma=sigma))
        if sigma is not None:
            object.__setattr__(self, 'confidence', None)

    def _check_divisor(self) -> None:
        if self.divisor < 1:
            message = f'divisor is {self.divisor}; give at least 1, or leave it out.'
            raise ConfigError(message)

    def _check_names(self) -> None:
        """Refuse one name for two things."""
        taken = {self.input.name: 'input.name'}
        for place, item in enumerate(self.extra_inputs):
            key = f'extra_inputs[{place}].name'
            if item.name in taken:
                message = (
                    f'{key} is {item.name!r}, which {taken[item.name]} is too; each input of a '
                    'graph has its own name.'
                )
                raise ConfigError(message)
            taken[item.name] = key
        planes = {self.output.depth, self.output.sigma}
        for key in ('own_focal_output', 'fov_output', 'scale_output'):
            if (name := getattr(self.output, key)) is not None and name in planes:
                message = (
                    f'depth.{key} is {name!r}, which is the depth or its sigma too; name the '
                    'output that holds one number for each image.'
                )
                raise ConfigError(message)
        for place, mask in enumerate(self.masks):
            if mask.output == self.output.depth and self.output.channel is None:
                message = (
                    f'masks[{place}].output is {mask.output!r}, which depth.output is too; name '
                    'the output that holds the mask.'
                )
                raise ConfigError(message)

    @property
    def named_outputs(self) -> tuple[tuple[str, str], ...]:
        """Key and tensor name of every output that is named, the depth first, then sigma."""
        spec, aux = self.output, self.aux
        named = (
            ('depth.output', spec.depth),
            ('confidence.output', spec.sigma or (self.confidence and self.confidence.output)),
            ('depth.own_focal_output', spec.own_focal_output),
            ('depth.fov_output', spec.fov_output),
            ('depth.scale_output', spec.scale_output),
            *((f'masks[{place}].output', item.output) for place, item in enumerate(self.masks)),
            ('aux.normal.output', aux.normal and aux.normal.output),
            ('aux.intrinsics_est.output', aux.intrinsics_est and aux.intrinsics_est.output),
        )
        return tuple((key, name) for key, name in named if name)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensor names of the outputs that are used, the depth first, then sigma."""
        ranked = self.confidence is not None and self.confidence.is_rank
        used = (
            name
            for key, name in self.named_outputs
            if not key.startswith('aux') and not (ranked and key == 'confidence.output')
        )
        return tuple(dict.fromkeys(used))

    @property
    def is_plain(self) -> bool:
        """Whether the graph takes images alone, and gives one plane of depth and one of sigma."""
        spec = self.output
        return (
            not self.extra_inputs
            and spec.channel is None
            and not self.masks
            and set(self.outputs) <= {spec.depth, spec.sigma}
        )

    @property
    def needs_intrinsics(self) -> bool:
        """Whether no answer is possible without the camera."""
        return (
            self.output.needs_intrinsics
            or self.domain.requires_intrinsics
            or any(item.needs_intrinsics for item in self.extra_inputs)
        )

    @property
    def uses_intrinsics(self) -> bool:
        """Whether the answer depends on the camera, where it is known."""
        spec = self.output
        own = spec.own_focal_output is not None or spec.fov_output is not None
        return own or self.needs_intrinsics

    @property
    def gives_sigma(self) -> bool:
        """Whether a standard deviation comes with the depth."""
        stated = self.confidence
        return self.output.sigma is not None or (stated is not None and not stated.is_rank)

    def to_json(self) -> str:
        """Write the manifest as indented JSON text, ending in a newline."""
        content = {'version': 2, **content_of(self)}
        if self.output.sigma is not None:
            content['confidence'] = {'output': self.output.sigma, 'meaning': 'sigma_m'}
        return json.dumps(plain(content), indent=2, allow_nan=False, ensure_ascii=False) + '\n'

    @classmethod
    def from_json(cls, text: str, *, source: str = 'manifest') -> Manifest:
        """Read a manifest from JSON text of version 1 or 2.

        Args:
            text: The JSON.
            source: Where it comes from, for the error message.

        Raises:
            ConfigError: It is no JSON, a key is unknown (the nearest is named) or missing, or a
                value has the wrong type or range or contradicts another.
        """
        try:
            content = parse_json(text)
        except DocumentError as error:
            message = (
                f'{source} is not JSON of a manifest: {error}. A manifest looks like this: '
                f'{EXAMPLE_LINE}'
            )
            raise ConfigError(message) from error
        try:
            manifest: Manifest = read_content(cls, content, example=EXAMPLE_LINE)
        except ConfigError as error:
            message = f'{source}: {error}'
            raise ConfigError(message) from error
        return manifest
