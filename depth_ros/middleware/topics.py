# SPDX-License-Identifier: Apache-2.0
"""Names of the topics of an image: the raw one, and those of its transports beside it."""

from __future__ import annotations

from rclpy.node import Node


def transport_topic(node: Node, base: str, transport: str) -> str:
    """Return the resolved topic of an image in a transport.

    As in image_transport, remapping the raw topic remaps its transports; one that is remapped
    itself stays where it was put.

    Args:
        node: Whose namespace and remappings hold.
        base: Name of the raw topic, before remapping.
        transport: `raw`, `compressed`, `compressedDepth`.
    """
    if transport == 'raw':
        return str(node.resolve_topic_name(base))
    own = f'{base}/{transport}'
    resolved = str(node.resolve_topic_name(own))
    if resolved != node.resolve_topic_name(own, only_expand=True):
        return resolved
    return f'{node.resolve_topic_name(base)}/{transport}'
