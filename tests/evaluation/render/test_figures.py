"""The style of the pictures: scales that can be compared, bytes that repeat."""

import torch

from blurnet.evaluation.render.figures import grid, new_figure, png_bytes, show_image, spectra_table

MAPS = torch.arange(8.0).view(1, 2, 4)


def test_shared_columns_have_one_colour_scale():
    figure = new_figure(6, 3, "spectra")
    columns = [("clean", MAPS), ("attacked", MAPS - 3), ("difference", 10 * MAPS)]
    spectra_table(figure, columns, ["channel 0"], shared=2, label="log")
    scales = [ax.images[0].get_clim() for ax in figure.axes if ax.images]
    assert scales == [(-3, 7), (-3, 7), (0, 70)]
    assert [ax.get_title() for ax in figure.axes if ax.images] == ["clean", "attacked", "difference"]


def test_pictures_stand_without_frames_and_repeat_their_bytes():
    def draw() -> bytes:
        figure = new_figure(2, 2, "two")
        axes = grid(figure, 1, 2)
        assert axes.shape == (1, 2)
        assert not any(spine.get_visible() for ax in axes.flat for spine in ax.spines.values())
        show_image(axes[0, 0], torch.full((3, 4, 5), 0.5), "gray")
        assert axes[0, 0].images[0].get_array().shape == (4, 5, 3)
        assert axes[0, 0].get_xlabel() == "gray"
        return png_bytes(figure)

    assert draw() == draw()
