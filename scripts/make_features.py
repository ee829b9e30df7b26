"""Makes the weights of ``redraft-small-1`` from the embedded data alone; about five minutes on one core.

    python scripts/make_features.py

The network learns three things at once: the category of a Fashion picture, which emoji a cropped, turned
and tinted picture shows (instance discrimination: Dosovitskiy et al., arXiv:1406.6909), and how much a
picture was blurred, made noisy or gridded. The last makes the features feel what goes wrong in generated
pictures; the first two, what the pictures are of. Only training splits are used.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.rng import stream
from redraft.evaluation.features import rgb
from redraft.evaluation.small import SmallNet

STEPS = 2200
BATCH = 32
PACKAGE = Path(__file__).parents[1] / "src/redraft"
EMBEDDED = PACKAGE / "data/embedded"
OUT = PACKAGE / "evaluation/weights/redraft-small-1.safetensors"


def tiles(name: str) -> tuple[Tensor, Tensor]:
    """The training pictures of an embedded set, uint8 [N, C, S, S] as stored, and their categories [N]."""
    facts = json.loads((EMBEDDED / f"{name}.json").read_text("utf-8"))
    with Image.open(next(EMBEDDED.glob(f"{name}.sheet.*"))) as sheet:
        whole = np.asarray(sheet if sheet.mode == "L" else sheet.convert("RGBA"))
    n, s = facts["train"], facts["size"]
    h, w = whole.shape[0] // s, whole.shape[1] // s
    cut = whole.reshape(h, s, w, s, -1).transpose(0, 2, 4, 1, 3).reshape(h * w, -1, s, s)[:n]
    return torch.from_numpy(cut.copy()), torch.tensor(facts["category"][:n])


def fashion_view(raw: Tensor, g: torch.Generator) -> Tensor:
    x = raw.float() / 127.5 - 1
    x = rgb(x, 32)
    return x.flip(3) if torch.rand((), generator=g) < 0.5 else x


def emoji_view(raw: Tensor, size: int, g: torch.Generator) -> Tensor:
    """Over white or a colour; cropped, turned, mirrored and tinted, each picture by itself."""
    n = len(raw)
    rgba = raw.float() / 255
    white = torch.rand(n, 1, 1, 1, generator=g) < 0.5
    ground = torch.where(white, 1.0, torch.rand(n, 3, 1, 1, generator=g))
    x = (rgba[:, :3] * rgba[:, 3:] + ground * (1 - rgba[:, 3:])) * 2 - 1
    turn = 0.25 * torch.randn(n, generator=g)
    zoom = torch.empty(n).uniform_(0.55, 1.1, generator=g)
    mirror = 1 - 2 * (torch.rand(n, generator=g) < 0.5).float()
    shift = torch.empty(n, 2).uniform_(-0.25, 0.25, generator=g)
    row = torch.stack([zoom * turn.cos() * mirror, -zoom * turn.sin(), shift[:, 0]], 1)
    column = torch.stack([zoom * turn.sin() * mirror, zoom * turn.cos(), shift[:, 1]], 1)
    if size < x.shape[-1]:
        x = F.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
    where = F.affine_grid(torch.stack([row, column], 1), [n, 3, size, size], align_corners=False)
    x = F.grid_sample(x, where, padding_mode="border", align_corners=False)
    gain = torch.empty(n, 3, 1, 1).uniform_(0.8, 1.2, generator=g)
    return (x * gain + torch.empty(n, 1, 1, 1).uniform_(-0.15, 0.15, generator=g)).clamp(-1, 1)


def harm(x: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of the pictures blurred, made noisy or gridded; and how much of each, [N, 3]."""
    n, s = len(x), x.shape[-1]
    kind = torch.randint(6, (n,), generator=g)  # 3, 4, 5: left as they are
    told = F.one_hot(kind.clamp_max(3), 4)[:, :3] * torch.rand(n, 1, generator=g)
    a = told.square()[:, :, None, None, None]  # squared: small harm is common, and told well
    soft = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), 5, 1)
    x = torch.lerp(x, soft, a[:, 0])
    x = x + 0.5 * a[:, 1] * torch.randn(x.shape, generator=g)
    comb = (torch.arange(s) % 2).float() * 2 - 1
    return (x + 0.4 * a[:, 2] * comb * comb[:, None]).clamp(-1, 1), told


def train(fashions: Tensor, categories: Tensor, emojis: Tensor, say: Callable[[str], None]) -> SmallNet:
    torch.manual_seed(0)
    net = SmallNet()
    kind = nn.Linear(net.features, 10)
    which = nn.Linear(net.features, len(emojis))
    harmed = nn.Linear(net.features, 3)
    heads = nn.ModuleList([net, kind, which, harmed])
    optimizer = torch.optim.AdamW(heads.parameters(), 2e-3, weight_decay=1e-3)
    for step in range(STEPS):
        g = stream(0, "features", step)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, step / 100) * (0.5 + 0.5 * math.cos(math.pi * step / STEPS))
        size = 32 if step % 2 else 64  # both sizes that the features are used at
        i = torch.randint(len(fashions), (BATCH,), generator=g)
        j = torch.randint(len(emojis), (BATCH,), generator=g)
        clean = emoji_view(emojis[j], size, g)
        if size == 32:
            clean = torch.cat([clean, fashion_view(fashions[i], g)])
        x, told = harm(clean, g)
        h = net.embedding(x)
        loss = F.cross_entropy(which(h[:BATCH]), j, label_smoothing=0.1)
        loss = loss + 10 * F.mse_loss(harmed(h), told)
        if size == 32:
            loss = loss + F.cross_entropy(kind(h[BATCH:]), categories[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 200 == 0:
            say(f"{step} loss {loss.item():.3f} cpu {time.process_time():.0f} s")
    return net.eval()


@torch.no_grad()
def standardise(net: SmallNet, fashions: Tensor, emojis: Tensor) -> None:
    """Mean and deviation over unharmed pictures of both kinds and sizes."""
    g = stream(0, "standardise")
    seen = [fashion_view(fashions[:1000], g), emoji_view(emojis[:1000], 32, g)]
    h = torch.cat([net.embedding(x) for x in [*seen, emoji_view(emojis[-1000:], 64, g)]])
    net.mean.copy_(h.mean(0))
    net.sd.copy_(h.std(0).clamp_min(0.1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    where = parser.parse_args()
    torch.set_num_threads(1)
    (x, y), (e, _) = tiles("fashion"), tiles("emoji")
    net = train(x, y, e, lambda line: print(line, flush=True))
    standardise(net, x, e)
    tensors = {k: v.half().contiguous() for k, v in net.state_dict().items() if v.is_floating_point()}
    where.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, where.out)
    where.out.chmod(0o644)
    print(f"{where.out}: {where.out.stat().st_size / 1e6:.2f} MB, {time.process_time():.0f} CPU s")


if __name__ == "__main__":
    main()
