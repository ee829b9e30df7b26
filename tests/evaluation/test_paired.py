from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from redraft.evaluation.agreement import edge_agreement, f_measure, known_error, luma_error, reduced_error
from redraft.evaluation.paired import psnr, rmse, ssim
from redraft.spaces.edges import draw_edges


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_psnr_of_a_known_error() -> None:
    x = torch.zeros(2, 3, 8, 8)
    y = torch.stack([x[0] + 0.2, x[1]])
    assert psnr(x, y).tolist() == pytest.approx([20.0, 100.0])
    assert rmse(x, y).tolist() == pytest.approx([0.2, 0.0])


@pytest.mark.parametrize("shape", [(4, 3, 32, 32), (2, 1, 28, 30)])
def test_ssim_and_psnr_are_torchmetrics(shape: tuple[int, ...]) -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    x = pictures(*shape)
    y = (x + 0.3 * pictures(*shape, seed=1)).clamp(-1, 1)
    ours = ssim(x, y)
    _, whole = functional.structural_similarity_index_measure(
        x, y, data_range=2.0, reduction="none", return_full_image=True
    )
    theirs = whole[..., 5:-5, 5:-5].flatten(1).mean(1)  # ours, like Wang et al., takes whole windows alone
    torch.testing.assert_close(ours.float(), theirs, atol=1e-4, rtol=0)
    for i in range(len(x)):
        one = functional.peak_signal_noise_ratio(x[i], y[i], data_range=2.0)
        assert psnr(x, y)[i].item() == pytest.approx(one.item(), abs=1e-4)


def test_ssim_by_hand_at_one_window() -> None:
    x, y = pictures(1, 1, 11, 11).double(), pictures(1, 1, 11, 11, seed=1).double()
    weight = torch.zeros(11, 11, dtype=torch.float64)
    for i in range(11):
        for j in range(11):
            weight[i, j] = math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2))
    weight = weight / weight.sum()
    mx, my = (weight * x).sum(), (weight * y).sum()
    vx, vy = (weight * (x - mx) ** 2).sum(), (weight * (y - my) ** 2).sum()
    cov = (weight * (x - mx) * (y - my)).sum()
    a, b = (0.02) ** 2, (0.06) ** 2
    by_hand = (2 * mx * my + a) * (2 * cov + b) / ((mx**2 + my**2 + a) * (vx + vy + b))
    assert ssim(x, y).item() == pytest.approx(by_hand.item(), abs=1e-9)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_tiny_pictures_have_an_ssim(size: int) -> None:
    x = pictures(2, 1, size, size)
    assert ssim(x, x).tolist() == pytest.approx([1, 1])


def test_edges_of_the_picture_itself_agree_and_of_another_less() -> None:
    x = torch.full((2, 3, 32, 32), -0.8)
    x[0, :, 8:24, 8:24] = 0.8
    x[1, :, :, 20:] = 0.8
    same = edge_agreement(x, draw_edges(x))
    assert same.tolist() == [1, 1]
    assert (edge_agreement(x, draw_edges(x.roll(1, 0))) < 0.6).all()


def test_f_measure_against_a_loop_over_pixels() -> None:
    g = torch.Generator().manual_seed(3)
    a, b = torch.rand(1, 1, 9, 9, generator=g) < 0.1, torch.rand(1, 1, 9, 9, generator=g) < 0.15
    for tolerance in (0, 1, 2):

        def met(p: Tensor, q: Tensor, t: int = tolerance) -> float:
            near = [(q.nonzero() - one).abs().max(1).values.min() <= t for one in p.nonzero()]
            return sum(map(float, near)) / len(near)

        p, r = met(a[0, 0], b[0, 0]), met(b[0, 0], a[0, 0])
        wanted = 2 * p * r / (p + r) if p + r else 0.0
        assert f_measure(a, b, tolerance).item() == pytest.approx(wanted)


def test_f_measure_of_empty_drawings() -> None:
    none, some = torch.zeros(1, 1, 4, 4, dtype=torch.bool), torch.eye(4, dtype=torch.bool)[None, None]
    assert f_measure(none, none).item() == 1 and f_measure(none, some).item() == 0


def test_what_a_condition_fixes_has_no_error_where_it_is_kept() -> None:
    x, other = pictures(3, 3, 8, 8), pictures(3, 3, 8, 8, seed=1)
    mask = (pictures(3, 1, 8, 8, seed=2) > 0).float()
    c = torch.cat([x * mask, mask], 1)
    kept = torch.where(mask > 0.5, x, other)
    assert known_error(kept, c).max() == 0 and (known_error(other, c) > 0.3).all()
    shuffled = x.view(3, 3, 4, 2, 4, 2).flip(3).reshape(3, 3, 8, 8)  # the same block means
    assert reduced_error(shuffled, x, 2).max() < 1e-6 and (reduced_error(other, x, 2) > 0.1).all()
    grey = x[:, :1]
    assert luma_error(grey.expand(-1, 3, -1, -1), grey).max() < 1e-6 < luma_error(other, grey).min()


def test_thin_lines_that_turned_grey_are_still_lines() -> None:
    x = -torch.ones(1, 3, 64, 64)
    y, z = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    x[:, :, (y - 32) ** 2 + (z - 32) ** 2 < 400] = 1
    drawing = draw_edges(x)
    pale = 1 - 0.3 * (1 - drawing)
    assert (edge_agreement(x, pale) > 0.9).all()
    torch.testing.assert_close(edge_agreement(x, pale), edge_agreement(x, drawing), rtol=0, atol=0.05)
