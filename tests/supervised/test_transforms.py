import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from clrl.supervised.data import DATASETS
from clrl.supervised.transforms import (
    Permuted,
    Rotated,
    central_permutation,
    rotated,
)

from .small import examples

NO_PROGRESS = torch.zeros(24)


@given(st.integers(2, 12), st.integers(2, 12), st.data())
def test_a_central_permutation_moves_pixels_of_the_square_only(
    height: int, width: int, data: st.DataObject
) -> None:
    side = data.draw(st.integers(1, min(height, width)))
    rng = np.random.default_rng(0)
    order = central_permutation(height, width, side, rng).numpy()
    assert sorted(order) == list(range(height * width))
    moved = np.flatnonzero(order != np.arange(height * width))
    rows, columns = np.divmod(moved, width)
    top, left = (height - side) // 2, (width - side) // 2
    assert ((rows >= top) & (rows < top + side)).all()
    assert ((columns >= left) & (columns < left + side)).all()


def test_the_square_of_the_papers_figure_leaves_one_pixel_of_border() -> None:
    order = central_permutation(28, 28, 26, np.random.default_rng(0)).reshape(28, 28)
    still = torch.arange(784).reshape(28, 28)
    assert (order[0] == still[0]).all()
    assert (order[:, 27] == still[:, 27]).all()
    assert (order[1:27, 1:27] != still[1:27, 1:27]).float().mean() > 0.99


def test_a_permutation_takes_each_pixel_from_where_it_says() -> None:
    images = examples(24, seed=0).images
    order = torch.randperm(36, generator=torch.Generator().manual_seed(0))
    permuted = Permuted(order)(images, NO_PROGRESS)
    for n in range(24):
        for i in range(36):
            assert permuted[n].flatten()[i] == images[n].flatten()[order[i]]


def test_the_channels_of_a_colour_image_are_permuted_alike() -> None:
    grey = examples(24, seed=0).images
    order = torch.randperm(36, generator=torch.Generator().manual_seed(0))
    colour = torch.stack([grey, 255 - grey, grey], dim=1)
    permuted = Permuted(order)(colour, NO_PROGRESS)
    expected = Permuted(order)(grey, NO_PROGRESS)
    assert torch.equal(permuted[:, 0], expected)
    assert torch.equal(permuted[:, 1], 255 - expected)


@pytest.mark.parametrize("degrees", [0.0, 13.0, 90.0, -45.0, 179.0])
def test_a_rotation_is_scipys(degrees: float) -> None:
    images = DATASETS["digits"].load(None).train.images[:20]
    turned = rotated(images, torch.full((20,), degrees)).numpy().astype(float)
    expected = ndimage.rotate(
        images.numpy().astype(float),
        degrees,
        axes=(1, 2),
        reshape=False,
        order=1,
        mode="grid-constant",
    )
    assert np.abs(turned - expected).max() <= 1.0  # rounded to whole grey levels


def test_an_image_that_is_not_square_is_turned_without_being_sheared() -> None:
    image = torch.zeros(1, 9, 5, dtype=torch.uint8)
    image[0, 4] = 200  # a horizontal bar through the centre
    upright = rotated(image, torch.tensor([90.0]))[0]
    assert upright[2:7, 2].tolist() == [200] * 5
    assert upright[:, [0, 1, 3, 4]].sum() == 0


def test_an_angle_grows_evenly_through_the_task() -> None:
    images = examples(24, seed=0).images
    progress = torch.linspace(0, 1, 24)
    turning = Rotated(30.0, 60.0)(images, progress)
    for n in range(24):
        angle = 30.0 + 30.0 * n / 23
        assert torch.equal(turning[n], rotated(images, torch.full((24,), angle))[n])


def test_a_rotation_does_not_depend_on_how_many_images_are_turned_at_once() -> None:
    images = examples(5_000, seed=0).images
    turned = Rotated(20.0, 20.0)(images, torch.zeros(5_000))
    for n in (0, 2_047, 2_048, 4_999):
        assert torch.equal(
            turned[n],
            Rotated(20.0, 20.0)(images[n : n + 1], progress=torch.zeros(1))[0],
        )
