# SPDX-License-Identifier: Apache-2.0
"""The fields of `Settings` as ROS parameters, as the parameter file and as a page.

python -m depth_ros.parameters --yaml     prints config/mono_depth.yaml
python -m depth_ros.parameters            prints the table of docs/parameters.md
"""

from __future__ import annotations

import sys
import textwrap

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from depth_core.errors import run_command
from depth_ros.arguments import CommandParser
from depth_ros.options.fields import ParameterField, Value, When
from depth_ros.settings import PARAMETERS, Settings


def declare_parameters(node: Node, settings: Settings) -> None:
    """Declare every parameter with its value in `settings`; overrides are already in them."""
    for entry in PARAMETERS:
        node.declare_parameter(
            entry.name, entry.value_in(settings), descriptor(entry), ignore_override=True
        )


def descriptor(entry: ParameterField) -> ParameterDescriptor:
    """Return what `ros2 param describe` shows."""
    described = ParameterDescriptor(
        description=entry.description, read_only=entry.when is When.READ_ONLY
    )
    if entry.minimum is None or entry.maximum is None:
        described.additional_constraints = entry.allowed
    elif isinstance(entry.default, int):
        described.integer_range = [
            IntegerRange(from_value=int(entry.minimum), to_value=int(entry.maximum), step=1)
        ]
    else:
        described.floating_point_range = [
            FloatingPointRange(from_value=entry.minimum, to_value=entry.maximum, step=0.0)
        ]
    return described


def markdown_table() -> str:
    """Render the table of docs/parameters.md."""
    lines = [
        '| parameter | default | values | may change | what it does |',
        '|---|---|---|---|---|',
    ]
    for entry in PARAMETERS:
        default = f'`{_yaml(entry.default)}`'
        cells = (f'`{entry.name}`', default, entry.allowed, entry.when.value, entry.sentence)
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


def yaml_text() -> str:
    """Render config/mono_depth.yaml: every parameter with its default and its sentence."""
    lines = [
        '# SPDX-License-Identifier: Apache-2.0',
        '# Every parameter of mono_depth with its default. Written by',
        '# python -m depth_ros.parameters --yaml; a test compares it with the settings.',
        '/**:',
        '  ros__parameters:',
    ]
    for entry in PARAMETERS:
        lines.extend(
            textwrap.wrap(
                entry.description, 90, initial_indent='    # ', subsequent_indent='    # '
            )
        )
        lines.append(f'    {entry.name}: {_yaml(entry.default)}')
    return '\n'.join(lines) + '\n'


def _yaml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def main() -> None:
    """Print the table of docs/parameters.md, or with --yaml the parameter file."""
    parser = CommandParser(prog='depth_ros.parameters', description=main.__doc__ or '')
    parser.add_argument('--yaml', action='store_true', help='print config/mono_depth.yaml')
    options = parser.parse_command(None)
    sys.stdout.write(yaml_text() if options.yaml else markdown_table())


if __name__ == '__main__':
    run_command(main)
