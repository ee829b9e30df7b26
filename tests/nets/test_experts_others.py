"""Experts that others have trained: their own libraries are the reference."""

from __future__ import annotations

import base64
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import BundleError, UsageError
from redraft.nets.experts import BlackBox, load
from redraft.nets.experts.biggan import within
from redraft.nets.experts.hugging import quiet

# Tiny ONNX files: the mean colour [n, 3] of pictures of any size; tanh of one picture of 16 px; of 3 numbers.
MEAN = (
    "CAg6ZwoaCgF4EgJoMCIRR2xvYmFsQXZlcmFnZVBvb2wKEAoCaDASAXkiB0ZsYXR0ZW4SAWdaHgoBeBIZChcIARITCgMSAW4KAggDCgMS"
    "AXMKAxIBc2IUCgF5Eg8KDQgBEgkKAxIBbgoCCANCBAoAEBE="
)
TANH = (
    "CAg6SwoMCgF4EgF5IgRUYW5oEgFnWhsKAXgSFgoUCAESEAoCCAEKAggDCgIIEAoCCBBiGwoBeRIWChQIARIQCgIIAQoCCAMKAggQCgII"
    "EEIECgAQEQ=="
)
VECTOR = "CAg6PQoMCgF4EgF5IgRUYW5oEgFnWhQKAXgSDwoNCAESCQoDEgFuCgIIA2IUCgF5Eg8KDQgBEgkKAxIBbgoCCANCBAoAEBE="


def pictures(n: int = 3, size: int = 16) -> Tensor:
    return torch.rand(n, 3, size, size) * 2 - 1


def sentence_folder(root: Path, pooling: dict[str, object] | None, *, normalise: bool = False) -> Path:
    """A random BERT of two words, as sentence-transformers keeps it, or (None) as transformers does."""
    transformers = pytest.importorskip("transformers")
    (root / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "shoe", "##s"])
    )
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    with quiet("transformers"):
        transformers.BertModel(config).save_pretrained(root)
        transformers.BertTokenizer(str(root / "vocab.txt")).save_pretrained(root)
    if pooling is not None:
        kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_N", "Normalize")][: 3 if normalise else 2]
        modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
        (root / "modules.json").write_text(json.dumps(modules))
        (root / "1_Pooling").mkdir()
        (root / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return root


def states(folder: Path, sentence: str) -> Tensor:
    """The words' vectors [words, D] of one sentence, by transformers alone."""
    transformers = pytest.importorskip("transformers")
    with quiet("transformers"):
        words = transformers.AutoTokenizer.from_pretrained(folder)(sentence, return_tensors="pt")
        net = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return net(**words).last_hidden_state[0]


@pytest.mark.parametrize(
    ("pooling", "normalise", "expected"),
    [
        (None, False, lambda h: h.mean(0)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, False, lambda h: h.mean(0)),
        ({"pooling_mode": "mean"}, True, lambda h: F.normalize(h.mean(0), dim=0)),
        ({"pooling_mode_cls_token": True}, True, lambda h: F.normalize(h[0], dim=0)),
        ({"pooling_mode": "cls"}, False, lambda h: h[0]),
    ],
)
def test_sentences_are_pooled_as_their_folder_says(
    pooling: dict[str, object] | None, normalise: bool, expected: Any, tmp_path: Path
) -> None:
    folder = sentence_folder(tmp_path, pooling, normalise=normalise)
    expert = load(f"text:{folder}")
    z = expert(["red shoes", "shoe"])
    torch.testing.assert_close(z[0], expected(states(folder, "red shoes")), rtol=0, atol=1e-6)
    torch.testing.assert_close(z[1], expected(states(folder, "shoe")), rtol=0, atol=1e-6)
    assert expert.foreign(["shoe", "schuhe"]) == 0.5


def test_another_pooling_is_refused(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, {"pooling_mode_max_tokens": True})
    with pytest.raises(UsageError, match="read are a mean or a first word"):
        load(f"text:{folder}")


@pytest.mark.parametrize("kind", ["text", "image"])
def test_weights_that_are_missing_are_not_drawn_by_chance(kind: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    if kind == "text":
        file = sentence_folder(tmp_path, None) / "model.safetensors"
    else:
        diffusers = pytest.importorskip("diffusers")
        with quiet("diffusers"):
            tiny_kl(diffusers).save_pretrained(tmp_path)
        file = tmp_path / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    for name in [name for name in tensors if name.startswith(("encoder.layer.0.output", "decoder.conv_in"))]:
        del tensors[name]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(BundleError, match=r"lacks \d of the weights|cannot be read as a model"):
        load(f"{kind}:{tmp_path}")


def test_sentences_without_their_words(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, None)
    for file in folder.iterdir():
        if "token" in file.name or "vocab" in file.name:
            file.unlink()
    with pytest.raises(BundleError, match="its words .tokenizer.json. are missing"):
        load(f"text:{folder}")


def test_a_moved_folder_is_the_same_expert(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    folder = sentence_folder(tmp_path / "a", None)
    before = load(f"text:{folder}").fingerprint
    folder.rename(tmp_path / "b")
    assert load(f"text:{tmp_path / 'b'}").fingerprint == before


def tiny_kl(diffusers: Any, **settings: object) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=3,
        **settings,
    )


def test_a_kl_autoencoder_is_seen_as_diffusion_sees_it(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers", reason="an extra: redraft[diffusion]")
    with quiet("diffusers"):
        net = tiny_kl(diffusers, scaling_factor=0.25, shift_factor=0.5).eval()
        net.save_pretrained(tmp_path)
    expert, x = load(f"image:{tmp_path}"), pictures()
    assert expert.kind == "autoencoder" and expert.shape(16) == (3, 8, 8)
    with torch.no_grad():
        mean = net.encode(x).latent_dist.mean
        torch.testing.assert_close(expert(x), (mean - 0.5) * 0.25)
        torch.testing.assert_close(expert.decode((mean - 0.5) * 0.25), net.decode(mean).sample.clamp(-1, 1))
    with pytest.raises(UsageError, match="multiple of 2 px"):
        expert(pictures(1, 15))
    other = tiny_kl(diffusers, scaling_factor=0.5, shift_factor=0.5)
    other.load_state_dict(net.state_dict())
    with quiet("diffusers"):
        other.save_pretrained(tmp_path / "other")
    assert load(f"image:{tmp_path / 'other'}").fingerprint != expert.fingerprint


def test_a_tiny_autoencoder(tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers", reason="an extra: redraft[diffusion]")
    blocks = {"encoder_block_out_channels": (8, 8, 8), "decoder_block_out_channels": (8, 8, 8)}
    with quiet("diffusers"):
        net = diffusers.AutoencoderTiny(
            **blocks, num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1), latent_channels=5
        ).eval()
        net.save_pretrained(tmp_path)
    expert, x = load(f"image:{tmp_path}"), pictures()
    assert expert.shape(16) == (5, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(expert(x), net.encode(x).latents)
        torch.testing.assert_close(
            expert.decode(expert(x)), net.decode(net.encode(x).latents).sample.clamp(-1, 1)
        )


def onnx_file(folder: Path, content: str) -> Path:
    pytest.importorskip("onnxruntime", reason="an extra: redraft[onnx]")
    (folder / "net.onnx").write_bytes(base64.b64decode(content))
    return folder / "net.onnx"


def test_an_onnx_file_of_any_size(tmp_path: Path) -> None:
    expert, x = load(f"image:{onnx_file(tmp_path, MEAN)}"), pictures(70)
    assert expert.shape(16) == expert.shape(64) == (3,)
    torch.testing.assert_close(expert(x), x.mean((2, 3)))
    with pytest.raises(UsageError, match="cannot go back"):
        expert.decode(expert(x))


def test_an_onnx_file_of_one_size_and_one_picture(tmp_path: Path) -> None:
    expert, x = load(f"image:{onnx_file(tmp_path, TANH)}"), pictures()
    torch.testing.assert_close(expert(x), x.tanh())
    assert expert.shape(64) == (3, 16, 16) and expert(pictures(2, 64)).shape == (2, 3, 16, 16)


def test_onnx_files_that_are_no_image_experts(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"takes pictures \[N, 3, S, S\]"):
        load(f"image:{onnx_file(tmp_path, VECTOR)}")
    with pytest.raises(BundleError, match="cannot be run by onnxruntime"):
        load(f"image:{onnx_file(tmp_path, base64.b64encode(b'no network').decode())}")


def test_any_function_of_sentences() -> None:
    def letters(sentence: str) -> np.ndarray:
        return np.array([sentence.count(x) for x in "abc"])

    expert = BlackBox(letters, name="text:letters", kind="text", shape=(3,), each=True)
    assert expert(["abba", "cab", ""]).tolist() == [[2, 2, 0], [1, 1, 1], [0, 0, 0]]
    assert expert(["a"] * 70).shape == (70, 3) and expert([]).shape == (0, 3)


def test_any_function_of_pictures_and_back() -> None:
    expert = BlackBox(
        lambda x: F.avg_pool2d(x, 4),
        name="image:mosaic",
        kind="autoencoder",
        shape=lambda size: (3, size // 4, size // 4),
        back=lambda z: F.interpolate(z, scale_factor=4),
    )
    x = F.interpolate(pictures(2, 4), scale_factor=4)
    torch.testing.assert_close(expert.decode(expert(x)), x)


def test_black_boxes_that_break_their_word() -> None:
    def made(function: Any, shape: tuple[int, ...] = (3,)) -> BlackBox:
        return BlackBox(function, name="text:f", kind="text", shape=shape)

    with pytest.raises(BundleError, match=r"\[2, 4\] and had promised \[2, 3\]"):
        made(lambda given: torch.zeros(len(given), 4))(["a", "b"])
    with pytest.raises(BundleError, match="no array of numbers"):
        made(lambda given: given)(["a"])
    with pytest.raises(BundleError, match="not finite"):
        made(lambda given: torch.full((1, 3), torch.inf))(["a"])
    with pytest.raises(UsageError, match="takes back="):
        BlackBox(len, name="x", kind="generator", shape=(3,))


def test_the_fingerprint_of_a_function_follows_its_version_and_text() -> None:
    def one(given: list[str]) -> Tensor:
        return torch.zeros(len(given), 1)

    def two(given: list[str]) -> Tensor:
        return torch.ones(len(given), 1)

    def mark(f: Any, version: str) -> str:
        return BlackBox(f, name="text:f", kind="text", shape=(1,), version=version).fingerprint

    assert mark(one, "1") == mark(one, "1")
    assert len({mark(one, "1"), mark(one, "2"), mark(two, "1")}) == 3
    net = nn.Linear(3, 2)
    assert mark(net, "1") != mark(nn.Linear(3, 2), "1")


def test_biggan_with_own_weights(tmp_path: Path) -> None:
    package = pytest.importorskip("pytorch_pretrained_biggan", reason="an extra: redraft[biggan]")
    config = package.BigGANConfig(
        output_dim=8, z_dim=6, class_embed_dim=6, channel_width=8, num_classes=5, 
        layers=[[True, 16, 8], [False, 8, 4], [False, 4, 2], [False, 2, 1]],
        attention_layer_position=9, n_stats=3,
    )  # fmt: skip
    net = package.BigGAN(config).eval()
    nn.init.ones_(net.generator.bn.weight)
    nn.init.zeros_(net.generator.bn.bias)
    (tmp_path / "config.json").write_text(config.to_json_string())
    with pytest.raises(BundleError, match="incomplete"):
        load(f"generator:{tmp_path}")
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    expert = load(f"generator:{tmp_path}")
    z = expert.draw(200, torch.Generator().manual_seed(0))
    assert z.shape == (200, 12, 1, 1) == (200, *expert.shape(8))
    assert z[:, :6].abs().max() < 2.5 and 0.9 < z[:, :6].std() < 1

    table = net.embeddings.weight.T.detach()
    gaps = (z[:, 6:, 0, 0, None] - table.T).norm(dim=1)  # to each class's embedding
    assert set(gaps.argmin(1).tolist()) == set(range(5))
    with torch.no_grad():
        exact = torch.cat([z[:2, :6, 0, 0], table[[1, 4]]], 1)
        expected = net(z[:2, :6, 0, 0], F.one_hot(torch.tensor([1, 4]), 5).float(), 1.0)
    torch.testing.assert_close(expert.decode(exact[..., None, None]), expected)
    with pytest.raises(UsageError, match="cannot represent"):
        expert(pictures(size=8))
    torch.save({"a": 1, "b": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BundleError, match=r"not those of its config|other things than tensors"):
        load(f"generator:{tmp_path}")


def test_noise_within_a_limit_has_the_truncated_law() -> None:
    from scipy import stats

    z = within(torch.rand(4000, generator=torch.Generator().manual_seed(0)), 2.5)
    assert stats.kstest(z.numpy(), stats.truncnorm(-2.5, 2.5).cdf).pvalue > 0.01


def test_timm_by_its_door(monkeypatch: pytest.MonkeyPatch) -> None:
    class Net(nn.Module):
        pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "std": (0.5, 0.25, 0.1)}
        num_features = 3

        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    def create(name: str, **settings: object) -> nn.Module:
        if name != "net" or settings != {"pretrained": True, "num_classes": 0}:
            raise RuntimeError(f"Unknown model ({name})")
        return Net()

    monkeypatch.setitem(sys.modules, "timm", types.SimpleNamespace(create_model=create))
    expert, x = load("image:timm/net"), pictures()
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.5, 0.25, 0.1])
    torch.testing.assert_close(expert(x), ((x.mean((2, 3)) + 1) / 2 - mean) / std)
    with pytest.raises(UsageError, match="Unknown model"):
        load("image:timm/other")
