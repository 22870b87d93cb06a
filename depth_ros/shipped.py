# SPDX-License-Identifier: Apache-2.0
"""The model that the parameter `model` of the node and of the demonstration means."""

from __future__ import annotations

from pathlib import Path

from depth_core.errors import ConfigError, ModelError
from depth_core.shipped import default_model, find_model


def model_path(model: str) -> Path:
    """Return the file that the parameter `model` means.

    Args:
        model: A path, the name of a shipped model, or nothing for the shipped one.

    Raises:
        ConfigError: There is no such file and no such shipped model.
    """
    try:
        return find_model(model) if model else default_model()
    except ModelError as error:
        message = f'parameter model = {model!r}: {error}'
        raise ConfigError(message) from error
