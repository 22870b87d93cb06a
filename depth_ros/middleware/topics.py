# SPDX-License-Identifier: Apache-2.0
"""Names of topics: those of one camera of a node, and those of the transports of an image."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class CameraTopics:
    """The topics of one camera of a node: all of them in its namespace."""

    node: Node
    camera: str = ''
    """Its namespace, below that of the node unless it begins with a slash; empty for a node of
    one camera, which has its topics in its own."""

    def name(self, topic: str) -> str:
        """The name before remapping, such as `front/image`."""
        return f'{self.camera}/{topic}' if self.camera else topic

    def resolved(self, topic: str, transport: str = 'raw') -> str:
        """The full name, after remapping."""
        return transport_topic(self.node, self.name(topic), transport)
