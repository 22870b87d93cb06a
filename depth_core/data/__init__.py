# SPDX-License-Identifier: Apache-2.0
"""Where samples come from: synthetic scenes, KITTI, NYU, folders and bags, and transforms."""
