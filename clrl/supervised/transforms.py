"""What a task does to its images."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

_IMAGES_AT_ONCE = 2_048  # bounds the memory that a rotation needs


@runtime_checkable
class Transform(Protocol):
    """Turns a data set's images into a task's."""

    def __call__(
        self, images: UInt8[Tensor, "N *image"], progress: Float[Tensor, "N"]
    ) -> UInt8[Tensor, "N *image"]:
        """The task's images.

        Args:
            images: [N, H, W] or [N, channels, H, W].
            progress: How far into the task each image is seen, from 0 to 1.
        """
        ...


@dataclass(frozen=True)
class Unchanged:
    """Leaves images as they are."""

    def __call__(
        self, images: UInt8[Tensor, "N *image"], progress: Float[Tensor, "N"]
    ) -> UInt8[Tensor, "N *image"]:
        """``images``."""
        del progress
        return images


@dataclass(frozen=True)
class Permuted:
    """Puts pixel ``order[i]`` where pixel ``i`` was, channels together.

    Attributes:
        order: Indices into the H W pixels of an image.
    """

    order: Int64[Tensor, "P"]

    def __call__(
        self, images: UInt8[Tensor, "N *image"], progress: Float[Tensor, "N"]
    ) -> UInt8[Tensor, "N *image"]:
        """The permuted images."""
        del progress
        order = self.order.to(images.device)
        return images.flatten(-2)[..., order].reshape(images.shape)


def central_permutation(
    height: int, width: int, side: int, rng: np.random.Generator
) -> Int64[Tensor, "P"]:
    """A random order of the pixels in the central square; the others stay.

    Args:
        height: Of the image.
        width: Of the image.
        side: Of the square; Kirkpatrick et al. (2017), fig. 3C: 8 and 26 of 28.
        rng: Of the order.
    """
    order = np.arange(height * width)
    top, left = (height - side) // 2, (width - side) // 2
    grid = order.reshape(height, width)
    square = grid[top : top + side, left : left + side].ravel().copy()
    order[square] = rng.permutation(square)
    return torch.from_numpy(order)


@dataclass(frozen=True)
class Rotated:
    """Turns images about their centre, anticlockwise.

    Attributes:
        from_degrees: The angle at the start of the task.
        to_degrees: The angle at its end; in between it grows evenly.
    """

    from_degrees: float
    to_degrees: float

    def __call__(
        self, images: UInt8[Tensor, "N *image"], progress: Float[Tensor, "N"]
    ) -> UInt8[Tensor, "N *image"]:
        """The rotated images."""
        degrees = self.from_degrees + progress * (self.to_degrees - self.from_degrees)
        pieces = zip(
            torch.split(images, _IMAGES_AT_ONCE),
            torch.split(degrees, _IMAGES_AT_ONCE),
            strict=True,
        )
        return torch.cat([rotated(*piece) for piece in pieces])


def rotated(
    images: UInt8[Tensor, "N *image"], degrees: Float[Tensor, "N"]
) -> UInt8[Tensor, "N *image"]:
    """Each image turned anticlockwise by its own angle; bilinear, black outside."""
    channels = images.reshape(len(images), -1, *images.shape[-2:]).float()
    angle = torch.deg2rad(degrees.to(channels))
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = (torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1))
    # In the units of affine_grid an image that is not square would be sheared.
    height, width = images.shape[-2:]
    aspect = torch.tensor([[1.0, height / width, 1.0], [width / height, 1.0, 1.0]])
    theta = torch.stack(rows, 1) * aspect.to(channels)
    grid = functional.affine_grid(theta, list(channels.shape), align_corners=False)
    turned = functional.grid_sample(channels, grid, align_corners=False)
    return turned.round_().clamp_(0, 255).to(torch.uint8).reshape(images.shape)
