# SPDX-License-Identifier: Apache-2.0
"""Why no image comes: what is known of the publishers of the topic, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from depth_ros.middleware.publishers import publishers_text
from depth_ros.middleware.qos import Sender

IMAGE_TYPES: Final = {
    'raw': 'sensor_msgs/msg/Image',
    'compressed': 'sensor_msgs/msg/CompressedImage',
}
"""What each transport is subscribed to as."""


def silence_text(
    topic: str,
    senders: Sequence[Sender],
    *,
    name: str,
    transport: str,
    reliability: str,
    frames_in: int,
    silent_s: float,
) -> str:
    """Say that no image comes, and why that may be.

    Args:
        topic: Of the images.
        senders: Its publishers.
        name: What it is called before remapping, without its transport: `image`, `front/image`.
        transport: The parameter image_transport.
        reliability: The parameter input_reliability.
        frames_in: How many images have come since configure.
        silent_s: Since the last of them, or since activation.
    """
    since = f'the last of {frames_in} came {silent_s:.0f} s ago' if frames_in else 'none has come'
    found = publishers_text(topic, senders, kind=IMAGE_TYPES[transport])
    hint = _hint(
        senders, name, transport=transport, reliability=reliability, had_come=frames_in > 0
    )
    return f'no image for {silent_s:.0f} s on {topic} ({since}): {found}; {hint}'


def _hint(
    senders: Sequence[Sender], name: str, *, transport: str, reliability: str, had_come: bool
) -> str:
    if not senders:
        if had_come:
            return 'the camera has ended; start it again'
        return f'start the camera, or remap {name} ({name}:=/camera/image_raw)'
    wanted = IMAGE_TYPES[transport]
    fitting = [sender for sender in senders if sender.kind == wanted]
    if not fitting:
        return _other_transport(senders, name)
    if reliability == 'reliable' and all(item.reliability == 'best_effort' for item in fitting):
        return 'input_reliability is reliable, which none of them offers; set it to best_effort'
    if had_come:
        return 'the camera has stopped, or the link to it is down; look at its own log'
    return (
        'the QoS fits, so it sends none yet, or the middleware loses them: give both sides a Fast '
        'DDS profile whose shared memory holds them (FASTDDS_DEFAULT_PROFILES_FILE, '
        'config/fastdds.xml)'
    )


def _other_transport(senders: Sequence[Sender], name: str) -> str:
    """What to do where publishers have messages of another type."""
    kinds = {sender.kind for sender in senders}
    other = next((found for found, kind in IMAGE_TYPES.items() if kind in kinds), '')
    if not other:
        return f'remap {name} to the topic of a camera'
    topic = '' if other == 'raw' else f', and remap {name}/{other} to this topic'
    return f'set image_transport to {other}{topic}'
