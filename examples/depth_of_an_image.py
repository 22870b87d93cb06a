# SPDX-License-Identifier: Apache-2.0
"""How far is what is in the middle of a picture?

python examples/depth_of_an_image.py trt_engines/<model>.onnx picture.jpg
"""

from __future__ import annotations

import sys

import cv2
import numpy as np

from depth_core.runtime import Predictor


def main() -> None:
    """Predict the depth of one picture and print that of its middle."""
    model, picture = sys.argv[1:]
    pixels = cv2.imread(picture)
    if pixels is None:
        sys.exit(f'error: {picture} is no picture that can be read')
    image = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)  # [H, W, 3]

    predictor = Predictor.open(model)
    depth = predictor.predict(image)

    row, column = image.shape[0] // 2, image.shape[1] // 2
    print(f'backend     {depth.backend}')
    print(f'depth       {depth.depth_m[row, column]:.2f} m')
    print(f'sigma       {depth.sigma_m[row, column]:.2f} m')
    print(f'confidence  {depth.confidence[row, column]:.0%}')


if __name__ == '__main__':
    main()
