# SPDX-License-Identifier: Apache-2.0
"""Declare the parameters of the table to rclpy."""

from __future__ import annotations

from collections.abc import Mapping

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from depth_ros.parameters import PARAMETERS, ParameterSpec, Value, When


def declare_parameters(node: Node, values: Mapping[str, Value]) -> dict[str, Value]:
    """Declare each entry of `PARAMETERS` with its value, sentence and range.

    Args:
        node: The node.
        values: A checked value for each; what the user gave is already in them.

    Returns:
        A copy of `values`.
    """
    for spec in PARAMETERS:
        node.declare_parameter(
            spec.name, values[spec.name], descriptor(spec), ignore_override=True
        )
    return dict(values)


def descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    """Return what `ros2 param describe` shows."""
    unit = f' Unit: {spec.unit}.' if spec.unit else ''
    described = ParameterDescriptor(
        description=spec.sentence + unit,
        additional_constraints=f'One of: {spec.range_text}' if spec.choices else '',
        read_only=spec.when is When.START,
    )
    if spec.minimum is None or spec.maximum is None:
        return described
    if isinstance(spec.default, int):
        described.integer_range = [
            IntegerRange(from_value=int(spec.minimum), to_value=int(spec.maximum), step=1)
        ]
    else:
        described.floating_point_range = [
            FloatingPointRange(from_value=spec.minimum, to_value=spec.maximum, step=0.0)
        ]
    return described
