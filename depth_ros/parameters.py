# SPDX-License-Identifier: Apache-2.0
"""Every parameter of `mono_depth` once: name, default, range, unit, sentence.

The table declares the parameters, checks what the user gives, documents them
(`python -m depth_ros.parameters` prints the table of docs/parameters.md) and is compared with
config/mono_depth.yaml by a test. No rclpy here.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import textwrap
from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias

from depth_core.errors import ConfigError, run_command, unknown_name

Value: TypeAlias = bool | int | float | str
PERMITTED_PREFIXES: Final = ('use_sim_time', 'qos_overrides.', 'start_type_description_service')
"""Parameters that rclpy itself takes."""


class When(str, Enum):
    """When a parameter may be set."""

    START = 'start'
    """On the command line or in the parameter file only."""
    CONFIGURE = 'configure'
    """While the node is unconfigured; it takes effect with configure."""
    ALWAYS = 'always'
    """At any time; it takes effect with the next frame."""

    def __str__(self) -> str:
        return self.value


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParameterSpec:
    """One parameter."""

    name: str
    default: Value
    """Its value when the user gives none; also says its type."""
    sentence: str
    """What it does."""
    when: When = When.CONFIGURE
    unit: str = ''
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    """The strings allowed; empty allows any."""

    @property
    def range_text(self) -> str:
        """The allowed values, for people."""
        if self.choices:
            return ', '.join(self.choices)
        if self.minimum is None:
            return ''
        return f'{self.minimum:g} to {self.maximum:g}'

    def checked(self, value: object) -> Value:
        """Return `value` in the type of the default; integers are taken for real numbers.

        Raises:
            ConfigError: The type, the range or the choice is wrong.
        """
        kind = type(self.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind or not isinstance(value, (bool, int, float, str)):
            message = (
                f'parameter {self.name} = {value!r} is of type {type(value).__name__}; '
                f'give a {_TYPE_NAMES[kind]}{self._hint()}.'
            )
            raise ConfigError(message)
        if self.choices and value not in self.choices:
            kind_of_name = f'value of parameter {self.name}:'
            raise ConfigError(unknown_name(kind_of_name, str(value), self.choices))
        if self.minimum is not None and self.maximum is not None:  # noqa: SIM102 read in two steps
            if not self.minimum <= float(value) <= self.maximum:
                message = f'parameter {self.name} = {value} is out of range; give{self._hint()}.'
                raise ConfigError(message)
        return value

    def _hint(self) -> str:
        unit = f' {self.unit}' if self.unit else ''
        return f' {self.range_text}{unit}' if self.range_text else ''


_TYPE_NAMES: Final = {bool: 'boolean', int: 'whole number', float: 'number', str: 'string'}

PARAMETERS: Final[tuple[ParameterSpec, ...]] = (
    ParameterSpec(
        name='model',
        default='',
        sentence='ONNX file or checkpoint to run, or the name of a shipped model; empty takes '
        'the shipped one.',
    ),
    ParameterSpec(
        name='backend',
        default='auto',
        sentence='Backends to try in order, separated by commas (openvino, onnxruntime, torch); '
        'auto takes the chain of the runtime.',
    ),
    ParameterSpec(
        name='strict_backend',
        default=False,
        sentence='Fail instead of falling back to the next backend.',
    ),
    ParameterSpec(
        name='precision',
        default='fp32',
        choices=('fp32', 'bf16', 'fp16'),
        sentence='Arithmetic of the backend.',
    ),
    ParameterSpec(
        name='threads',
        default=0,
        minimum=0,
        maximum=256,
        sentence='CPU threads of the backend; 0 leaves it to the backend.',
    ),
    ParameterSpec(
        name='image_transport',
        default='raw',
        choices=('raw', 'compressed'),
        sentence='Subscribe to image (raw) or to image/compressed (JPEG or PNG).',
    ),
    ParameterSpec(
        name='input_reliability',
        default='best_effort',
        choices=('best_effort', 'reliable'),
        sentence='What the inputs ask for; best_effort works with every camera.',
    ),
    ParameterSpec(
        name='output_reliability',
        default='reliable',
        choices=('best_effort', 'reliable'),
        sentence='What the outputs offer; reliable works with every listener.',
    ),
    ParameterSpec(
        name='queue_depth',
        default=5,
        minimum=1,
        maximum=100,
        unit='images',
        sentence='Images the middleware keeps until the node takes them. It takes them at once '
        'and keeps the newest, so this adds no latency.',
    ),
    ParameterSpec(
        name='camera_info_pairing',
        default='latest',
        choices=('latest', 'exact'),
        sentence='Which camera_info a frame gets: the one of its own stamp, else the latest '
        '(latest) or none (exact).',
    ),
    ParameterSpec(
        name='image_geometry',
        default='auto',
        choices=('auto', 'rectified', 'raw'),
        sentence='Whether P holds for the images (rectified) or K and D do (raw). auto: '
        'rectified when the image topic says rect or D is zero.',
    ),
    ParameterSpec(
        name='depth_encoding',
        default='32FC1',
        choices=('32FC1', '16UC1'),
        sentence='Depth in metres (32FC1, NaN unknown, +inf beyond) or in millimetres (16UC1, '
        '0 unknown).',
    ),
    ParameterSpec(
        name='preview_near_m',
        default=0.0,
        minimum=0.0,
        maximum=1000.0,
        unit='m',
        when=When.ALWAYS,
        sentence='Depth drawn in the first colour of depth/color, red; 0 takes the smallest depth '
        'of the model.',
    ),
    ParameterSpec(
        name='preview_far_m',
        default=0.0,
        minimum=0.0,
        maximum=10000.0,
        unit='m',
        when=When.ALWAYS,
        sentence='Depth drawn in the last colour of depth/color, blue; 0 takes the largest depth '
        'of the model.',
    ),
    ParameterSpec(
        name='min_confidence',
        default=0.0,
        minimum=0.0,
        maximum=1.0,
        when=When.ALWAYS,
        sentence='Points of less confidence become NaN; 0 keeps all. Images are not filtered.',
    ),
    ParameterSpec(
        name='cloud.stride',
        default=1,
        minimum=1,
        maximum=64,
        unit='pixels',
        when=When.ALWAYS,
        sentence='Every n-th row and column becomes a point; the cloud stays organised.',
    ),
    ParameterSpec(
        name='cloud.color',
        default=True,
        when=When.ALWAYS,
        sentence='Give points the field rgb.',
    ),
    ParameterSpec(
        name='cloud.confidence',
        default=False,
        when=When.ALWAYS,
        sentence='Give points the field confidence.',
    ),
    ParameterSpec(
        name='cloud.edge_ratio',
        default=0.1,
        minimum=0.0,
        maximum=10.0,
        when=When.ALWAYS,
        sentence='Relative depth step within 3x3 pixels that makes a flying pixel, which becomes '
        'NaN; 0 keeps all.',
    ),
    ParameterSpec(
        name='cloud.max_range_m',
        default=0.0,
        minimum=0.0,
        maximum=10000.0,
        unit='m',
        when=When.ALWAYS,
        sentence='Points farther than this become NaN; 0 keeps all.',
    ),
    ParameterSpec(
        name='autostart',
        default=True,
        when=When.START,
        sentence='Configure and activate at start; false leaves both to a lifecycle manager.',
    ),
    ParameterSpec(
        name='diagnostics_period_s',
        default=1.0,
        minimum=0.1,
        maximum=60.0,
        unit='s',
        when=When.START,
        sentence='Time between two messages on /diagnostics.',
    ),
)

BY_NAME: Final[Mapping[str, ParameterSpec]] = {entry.name: entry for entry in PARAMETERS}


def checked_values(given: Mapping[str, object]) -> dict[str, Value]:
    """Check what the user gives and complete it with the defaults.

    Args:
        given: Values by parameter name. Names that rclpy itself takes are passed over.

    Returns:
        A value for each entry of `PARAMETERS`.

    Raises:
        ConfigError: Names are unknown, or values are of the wrong type, out of range or
            contradict each other. All problems are in the one message.
    """
    values = {spec.name: spec.default for spec in PARAMETERS}
    problems: list[str] = []
    for name, value in given.items():
        if name.startswith(PERMITTED_PREFIXES):
            continue
        if name not in BY_NAME:
            problems.append(unknown_name('parameter', name, BY_NAME))
            continue
        try:
            values[name] = BY_NAME[name].checked(value)
        except ConfigError as error:
            problems.append(str(error))
    near_m, far_m = float(values['preview_near_m']), float(values['preview_far_m'])
    if 0.0 < far_m <= near_m:
        problems.append(
            f'parameter preview_far_m = {far_m:g} is not above preview_near_m = {near_m:g}; '
            'give a larger one, or 0 for the largest depth of the model.'
        )
    if problems:
        raise ConfigError('\n'.join(problems))
    return values


def markdown_table() -> str:
    """Render `PARAMETERS` for docs/parameters.md."""
    lines = [
        '| parameter | default | values | unit | may be set | what it does |',
        '|---|---|---|---|---|---|',
    ]
    for spec in PARAMETERS:
        default = f'`{_yaml(spec.default)}`'
        cells = (
            f'`{spec.name}`',
            default,
            spec.range_text,
            spec.unit,
            spec.when.value,
            spec.sentence,
        )
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def yaml_text() -> str:
    """Render config/mono_depth.yaml: every parameter with its default and its sentence."""
    lines = [
        '# SPDX-License-Identifier: Apache-2.0',
        '# Every parameter of mono_depth with its default. Written by',
        '# python -m depth_ros.parameters --yaml; a test compares it with the table.',
        '/**:',
        '  ros__parameters:',
    ]
    for spec in PARAMETERS:
        allowed = f' [{spec.range_text}{" " + spec.unit if spec.unit else ""}]'
        comment = spec.sentence + (allowed if spec.range_text else '')
        lines.extend(
            textwrap.wrap(comment, 90, initial_indent='    # ', subsequent_indent='    # ')
        )
        lines.append(f'    {spec.name}: {_yaml(spec.default)}')
    return '\n'.join(lines) + '\n'


def _yaml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def main() -> None:
    """Print the table of docs/parameters.md, or with --yaml the parameter file."""
    parser = argparse.ArgumentParser(prog='depth_ros.parameters', description=main.__doc__)
    parser.add_argument('--yaml', action='store_true', help='print config/mono_depth.yaml')
    options = parser.parse_args()
    sys.stdout.write(yaml_text() if options.yaml else markdown_table())


if __name__ == '__main__':
    run_command(main)
