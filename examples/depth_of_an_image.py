# SPDX-License-Identifier: Apache-2.0
"""How far is what is in the middle of a picture?

python examples/depth_of_an_image.py densedepth_small picture.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

from depth_core.errors import run_command
from depth_core.images import read_image
from depth_core.runtime import Predictor


def main() -> None:
    """Predict the depth of one picture and print that of its middle."""
    model, picture = sys.argv[1:]
    image = read_image(Path(picture))  # [H, W, 3] uint8 RGB, upright

    predictor = Predictor.open(model)
    depth = predictor.predict(image)

    row, column = image.shape[0] // 2, image.shape[1] // 2
    print(f'backend     {depth.backend}')
    print(f'depth       {depth.depth_m[row, column]:.2f} m')
    print(f'sigma       {depth.sigma_m[row, column]:.2f} m')
    print(f'confidence  {depth.confidence[row, column]:.0%}')


if __name__ == '__main__':
    run_command(main)
