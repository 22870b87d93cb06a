# SPDX-License-Identifier: Apache-2.0
"""Monocular depth networks: training, evaluation, export and inference, free of ROS."""

__all__: list[str] = []
