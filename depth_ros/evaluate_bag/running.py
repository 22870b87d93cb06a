# SPDX-License-Identifier: Apache-2.0
"""The error of answers to a recording so far, image by image."""

from __future__ import annotations

from functools import reduce
from operator import add

from sensor_msgs.msg import Image

from depth_core.data.bag.dataset import BagDataset
from depth_core.metrics import ErrorSums, MetricAccumulator, Protocol
from depth_ros.messages.conversions import depth_from_image, nanoseconds


class RunningError:
    """Compares depth with the truth of a recording, by stamp."""

    def __init__(self, dataset: BagDataset, protocol: Protocol) -> None:
        self._dataset = dataset
        self._protocol = protocol
        self._places = {dataset.stamp_ns(index): index for index in range(len(dataset))}
        self._sums: list[ErrorSums] = []

    def __call__(self, message: Image) -> str | None:
        """Say how wrong a depth image is, and all so far; None where no truth is known.

        Args:
            message: Depth as the node publishes it.

        Raises:
            DataError: Its size is not that of the recorded image.
        """
        place = self._places.get(nanoseconds(message.header.stamp))
        if place is None or not self._dataset.has_depth(place):
            return None
        sample = self._dataset[place]
        score = MetricAccumulator(self._protocol).update(
            depth_from_image(message), sample.depth_m.numpy(), sample.valid.numpy()
        )
        if score.sums is None:
            return None
        self._sums.append(score.sums)
        now = score.sums.metrics()
        return (
            f'image {place + 1} of {len(self._dataset)}: AbsRel {now.abs_rel:.3f}, '
            f'delta1 {now.a1:.3f}; {len(self._sums)} images so far: {self._mean()}'
        )

    def total(self) -> str:
        """Say how wrong all depth was that could be compared, or that there was none."""
        known = sum(self._dataset.has_depth(index) for index in range(len(self._dataset)))
        if not known:
            return 'no depth was compared: no image of the recording has truth.'
        if not self._sums:
            return (
                f'no depth was compared with the truth of {known} images: the bag ended before '
                'the node answered one of them, or its answers have other stamps; play it slower '
                'or again.'
            )
        return (
            f'{len(self._sums)} images with truth were compared (the recording has {known}): '
            f'{self._mean()}'
        )

    def _mean(self) -> str:
        """The errors of all images so far."""
        mean = reduce(add, self._sums).metrics()
        return f'AbsRel {mean.abs_rel:.3f}, RMSE {mean.rmse:.2f} m, delta1 {mean.a1:.3f}'
