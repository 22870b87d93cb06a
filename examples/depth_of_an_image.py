# SPDX-License-Identifier: Apache-2.0
"""How far is what is in the middle of a picture?

python examples/depth_of_an_image.py densedepth_small picture.jpg 65

The last number is the horizontal field of view of the camera, degrees: a network that goes by the
focal length needs it.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from depth_core.errors import run_command
from depth_core.geometry import intrinsics_from_hfov
from depth_core.images import read_image
from depth_core.runtime import Predictor


def main() -> None:
    """Predict the depth of one picture and print that of its middle."""
    parser = ArgumentParser(description=main.__doc__)
    parser.add_argument('model', help='a file, or the name of a shipped model')
    parser.add_argument('picture', type=Path)
    parser.add_argument('hfov_deg', type=float, help='horizontal field of view, degrees')
    given = parser.parse_args()

    image = read_image(given.picture)  # [H, W, 3] uint8 RGB, upright
    height, width = image.shape[:2]
    camera = intrinsics_from_hfov(given.hfov_deg, height=height, width=width)

    predictor = Predictor.open(given.model)
    depth = predictor.predict(image, camera)

    row, column = height // 2, width // 2
    print(f'backend     {depth.backend}')
    print(f'depth       {depth.depth_m[row, column]:.2f} m')
    print(f'sigma       {depth.sigma_m[row, column]:.2f} m')
    print(f'confidence  {depth.confidence[row, column]:.0%}')


if __name__ == '__main__':
    run_command(main)
