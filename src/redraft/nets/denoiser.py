"""Denoisers: diffusers' own networks, told a condition by tokens; a pretrained one and ours alike.

    UNet2DConditionModel        tokens take the place of the text's
    PixArtTransformer2DModel    likewise
    UNet2DModel                 has no place for them: beside each self-attention comes one to the tokens,
                                whose values begin at zero, so that at first nothing changes. (GLIDE, and
                                with it PITI, puts tokens among the keys of the self-attention; there what
                                a prior has learnt would change from the start.)

A ``vector`` beside the tokens is added to the embedding of the time, through a layer that begins at zero, and
a ``hint`` to what the first layer makes of x_t (as ControlNet does; Zhang et al. 2023, arXiv:2302.05543).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redraft.core.errors import BundleError, UsageError, unknown
from redraft.core.types import Spec
from redraft.nets.experts.hugging import quiet

GET = 'pip install "redraft[diffusion]"'
KINDS = ("UNet2DConditionModel", "UNet2DModel", "PixArtTransformer2DModel")


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """Which denoiser: one of diffusers by its class and configuration, or a small one for CPUs."""

    kind: str = ""  # a class of diffusers; "": ours, a UNet2DConditionModel by what follows
    config: str = ""  # its config.json as text, where kind is given
    patch: int = 2  # each patch x patch square of the picture is one place with patch² times the channels
    channels: tuple[int, ...] = (32, 64, 96)  # of each level; from one to the next the grid is halved
    blocks: int = 1  # residual blocks a level; one more on the way up
    attention: int = 8  # largest grid whose places attend to one another and to the tokens
    tokens: int = 96  # D: width of the condition's tokens

    def refuse(self, key: str = "networks.denoiser") -> None:
        """UsageError for settings of which no network can be made; ``key``: where they stand."""
        if self.kind and self.kind not in KINDS:
            raise unknown("kind of denoiser", self.kind, KINDS)
        if min(self.patch, self.blocks, self.tokens) < 1 or self.attention < 0:
            raise UsageError(
                f"{key}.patch, blocks and tokens are whole numbers from 1 on, {key}.attention from 0 on."
            )
        if not self.channels or any(c < 1 or c % 16 for c in self.channels):
            raise UsageError(
                f"{key}.channels are multiples of 16, one for each level, not {list(self.channels)}."
            )

    def of(
        self, spec: Spec, beside: int = 0, key: str = "networks.denoiser"
    ) -> tuple[str, dict[str, Any], int]:
        """Class, configuration and patch for pictures of ``spec``, with so many channels seen beside them.

        UsageError, which says ``key``, for a configuration that is none.
        """
        self.refuse(key)
        if self.kind:
            try:
                config = json.loads(self.config)
            except ValueError:
                config = None
            if not isinstance(config, dict):
                raise UsageError(
                    f"{key}.kind={self.kind} needs {key}.config, the JSON object of that class's config.json."
                )
            return self.kind, config, 1
        return "UNet2DConditionModel", *_small(self, spec, beside)


def _small(cfg: DenoiserConfig, spec: Spec, beside: int) -> tuple[dict[str, Any], int]:
    patch = cfg.patch if spec.size % cfg.patch == 0 and spec.size > 8 else 1
    grid = spec.size // patch
    levels = 1  # as many as the grid can be halved
    while levels < len(cfg.channels) and grid % 2**levels == 0:
        levels += 1
    attends = [grid // 2**i <= cfg.attention for i in range(levels)]
    channels = cfg.channels[:levels]
    return {
        "sample_size": grid,
        "in_channels": (spec.channels + beside) * patch**2,
        "out_channels": spec.channels * patch**2,
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
        "block_out_channels": list(channels),
        "layers_per_block": cfg.blocks,
        "cross_attention_dim": cfg.tokens,
        "attention_head_dim": [max(1, c // 32) for c in channels],  # diffusers' name for how many heads
        "norm_num_groups": 16,
    }, patch


class _Said:
    """What hooks inside the network find of the pass that goes on."""

    tokens: Tensor | None = None  # [N, T, D]
    vector: Tensor | None = None  # [N, width of the time's embedding]
    hint: Tensor | None = None  # [N, *canvas]
    unclassed: Tensor | None = None  # bool [N]: rows without a category


class Denoiser(nn.Module):
    """A network of diffusers as this house calls it: ``denoiser(x_t, t, tokens, vector)``.

    ``tokens`` is the width D of the tokens that it reads, ``canvas`` the channels and side of what its first
    layer makes, ``z_shape`` the shape of a picture's noise. With a category of ``spec`` it has words of its
    own for them. It is told t as whole steps, from ``first_t`` on, and predicts what its schedule says;
    variances that a foreign one has learned as well are left out.
    """

    def __init__(self, net: Any, spec: Spec, *, patch: int = 1, first_t: int = 0) -> None:
        super().__init__()
        self.net, self.spec, self.patch, self.first_t = net, spec, patch, first_t
        self.z_shape = (spec.channels, spec.size, spec.size)
        self.kind = type(net).__name__
        self.tokens = _width(net)
        self._said = _Said()
        self.null = nn.Parameter(torch.zeros(1, 1, self.tokens))  # what is read where nothing is said
        if spec.condition == "category":
            self.words = nn.Embedding(spec.width, self.tokens)
        if self.kind == "UNet2DModel":
            _listen(net, self.tokens, self._said)
        time = (
            net.time_embedding if hasattr(net, "time_embedding") else net.adaln_single.emb.timestep_embedder
        )
        self.vector = _zero(nn.Linear(self.tokens, time.linear_2.out_features))
        time.register_forward_hook(_Beside(self._said))
        first = net.conv_in if hasattr(net, "conv_in") else net.pos_embed.proj
        self.canvas = (first.out_channels, spec.size // patch // first.stride[0])
        first.register_forward_hook(_Drawn(self._said))
        if (classes := getattr(net, "class_embedding", None)) is not None:
            classes.register_forward_hook(_Unclassed(self._said))

    @staticmethod
    def of(
        kind: str,
        config: Mapping[str, Any],
        spec: Spec,
        *,
        patch: int = 1,
        beside: int = 0,
        first_t: int = 0,
    ) -> Denoiser:
        """A denoiser of a diffusers class, weights fresh; BundleError where the class cannot be built so.

        ``beside``: channels that it sees beside x_t, and makes nothing of; ``first_t``: what it is told for
        t = 0.
        """
        if kind not in KINDS:
            raise unknown("kind of denoiser", kind, KINDS)
        if importlib.util.find_spec("diffusers") is None:
            raise UsageError(f"Diffusion needs diffusers, which is missing: {GET}.")
        with quiet("diffusers"):
            import diffusers

            try:
                net = getattr(diffusers, kind).from_config(dict(config))
            except (ValueError, TypeError, KeyError, IndexError, NotImplementedError) as problem:
                raise BundleError(f"No {kind} can be built as its configuration says: {problem}") from None
        refuse(net, spec, patch, beside)
        return Denoiser(net, spec, patch=patch, first_t=first_t)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        tokens: Tensor | None = None,
        vector: Tensor | None = None,
        hint: Tensor | None = None,
        beside: Tensor | None = None,
    ) -> Tensor:
        """The prediction [N, C, s, s] for x_t [N, C, s, s] at t int64 [N].

        ``tokens`` [N, T, D], or categories int64 [N], of which -1 is none; ``vector`` [N, D];
        ``hint`` [N, *canvas] is added to what the first layer makes of x_t; ``beside`` [N, C', s, s] stands
        in channels of its own, if the denoiser has them. None: unsaid.
        """
        said, labels = self._said, tokens if tokens is not None and tokens.ndim == 1 else None
        tokens = self._read(tokens, len(x_t))
        said.tokens = tokens.to(x_t.dtype)
        said.vector = None if vector is None else self.vector(vector)
        said.hint = hint
        seen = x_t if beside is None else torch.cat([x_t, beside], 1)
        try:
            made = self._call(F.pixel_unshuffle(seen, self.patch), t + self.first_t, said, labels)
        finally:
            said.tokens = said.vector = said.hint = said.unclassed = None
        return F.pixel_shuffle(made[:, : x_t.shape[1] * self.patch**2], self.patch)

    def added(self) -> list[nn.Parameter]:
        """Weights that no prior brings along: through these it is told what others were not told."""
        return [p for n, p in self.named_parameters() if n.startswith("vector.") or ".processor." in n]

    def fill(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of the bare network, named as diffusers names them; BundleError for others."""
        mine = {k for k in self.net.state_dict() if ".processor." not in k}
        if wrong := sorted(mine ^ set(state)):
            raise BundleError(f"The weights are not those of this {self.kind}: {wrong[0]} differs.")
        try:
            self.net.load_state_dict(dict(state), strict=False)
        except RuntimeError as problem:
            raise BundleError(f"The weights are not those of this {self.kind}: {problem}") from None

    def _read(self, tokens: Tensor | None, n: int) -> Tensor:
        if tokens is None:
            return self.null.expand(n, -1, -1)
        if tokens.ndim == 3:
            return tokens
        if not hasattr(self, "words"):
            return self.null.expand(n, -1, -1)
        words = self.words(tokens.clamp_min(0))[:, None]
        return torch.where((tokens < 0)[:, None, None], self.null, words)

    def _call(self, x: Tensor, t: Tensor, said: _Said, labels: Tensor | None) -> Tensor:
        net, kind = self.net, self.kind
        if kind == "UNet2DModel":
            if net.class_embedding is None:
                return net(x, t, return_dict=False)[0]
            labels = torch.full_like(t, -1) if labels is None else labels
            said.unclassed = labels < 0
            return net(x, t, class_labels=labels.clamp_min(0), return_dict=False)[0]
        more = _added(net, x)
        if kind == "UNet2DConditionModel":
            return net(x, t, said.tokens, added_cond_kwargs=more, return_dict=False)[0]
        return net(x, said.tokens, t, added_cond_kwargs=more, return_dict=False)[0]


def refuse(net: Any, spec: Spec, patch: int = 1, beside: int = 0) -> None:
    """BundleError where a network asks for more than this house can tell it, or has other channels."""
    kind, config = type(net).__name__, net.config
    added, classes = config.get("addition_embed_type"), config.get("class_embed_type")
    asks = ""
    if added not in (None, "text", "text_time"):
        asks = f"{added} beside the tokens"
    elif classes or (kind != "UNet2DModel" and config.get("num_class_embeds")):
        asks = "a class beside the tokens"
    elif config.get("time_embedding_type", "positional") != "positional":
        asks = f"times as {config.time_embedding_type}, not as steps"
    elif config.get("encoder_hid_dim_type") not in (None, "text_proj"):
        asks = f"{config.encoder_hid_dim_type} in the tokens' place"
    if asks:
        raise BundleError(f"This {kind} asks for {asks}, which cannot be told here: choose another prior.")
    channels, more = spec.channels * patch**2, beside * patch**2
    made = config.out_channels or channels
    if config.in_channels != channels + more or made not in (channels, 2 * channels):
        raise BundleError(
            f"This {kind} makes {config.out_channels} channels of {config.in_channels}, and {channels} are "
            "wanted, of the picture or latent: choose a prior, or an image expert, that fits."
        )


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _width(net: Any) -> int:
    """D: of the tokens that a network reads; of one that reads none, as wide as its widest layer."""
    config = net.config
    if type(net).__name__ == "UNet2DModel":
        return int(config.block_out_channels[-1])
    if config.get("caption_channels") or config.get("encoder_hid_dim"):
        return int(config.get("caption_channels") or config.encoder_hid_dim)
    width = config.cross_attention_dim
    if isinstance(width, (list, tuple)):
        if len(set(width)) > 1:
            raise BundleError("This denoiser's levels read tokens of several widths: choose another prior.")
        width = width[0]
    return int(width)


def _added(net: Any, x: Tensor) -> dict[str, Any]:
    """What some networks want beside the tokens: sizes (PixArt, SDXL) and a pooled text, of which none is."""
    n, config = len(x), net.config
    if getattr(net, "use_additional_conditions", False):
        side = 8.0 * x.shape[-1]
        return {"resolution": x.new_full((n, 2), side), "aspect_ratio": x.new_ones(n, 1)}
    if config.get("addition_embed_type") != "text_time":
        return {"resolution": None, "aspect_ratio": None} if "PixArt" in type(net).__name__ else {}
    side = 8.0 * x.shape[-1]
    ids = x.new_tensor([side, side, 0.0, 0.0, side, side]).expand(n, -1)
    pooled = config.projection_class_embeddings_input_dim - ids.shape[1] * config.addition_time_embed_dim
    return {"text_embeds": x.new_zeros(n, pooled), "time_ids": ids}


class _Beside:
    """A hook that adds the vector to the time's embedding."""

    def __init__(self, said: _Said) -> None:
        self.said = said

    def __call__(self, module: nn.Module, given: Any, made: Tensor) -> Tensor:
        return made if self.said.vector is None else made + self.said.vector.to(made.dtype)


class _Drawn:
    """A hook that adds the hint to what the first layer makes of x_t."""

    def __init__(self, said: _Said) -> None:
        self.said = said

    def __call__(self, module: nn.Module, given: Any, made: Tensor) -> Tensor:
        return made if self.said.hint is None else made + self.said.hint.to(made.dtype)


class _Unclassed:
    """A hook that takes the class's embedding away from rows that have none."""

    def __init__(self, said: _Said) -> None:
        self.said = said

    def __call__(self, module: nn.Module, given: Any, made: Tensor) -> Tensor:
        assert self.said.unclassed is not None
        return made.masked_fill(self.said.unclassed[:, None], 0.0)


# ---- tokens for a network that has no place for them


def _listen(net: Any, width: int, said: _Said) -> None:
    """Give each self-attention of a UNet2DModel one to the tokens beside it."""
    from diffusers.models.attention_processor import Attention

    places = [m for m in net.modules() if isinstance(m, Attention)]
    if not places:
        raise BundleError("This UNet2DModel has no attention, through which it could read a condition.")
    for attention in places:
        attention.set_processor(Listening(attention, width, said))


class Listening(nn.Module):
    """diffusers' attention of a picture to itself, plus that to the tokens, before the last projection.

    As the decoupled attention of IP-Adapter (Ye et al. 2023, arXiv:2308.06721), with values that begin at 0.
    """

    def __init__(self, attention: Any, width: int, said: _Said) -> None:
        super().__init__()
        inner = attention.to_q.out_features
        self.to_k = nn.Linear(width, inner, bias=False)
        self.to_v = _zero(nn.Linear(width, inner, bias=False))
        self.said = said

    def __call__(  # not forward: diffusers reads its signature
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        assert self.said.tokens is not None
        x, tokens = hidden_states, self.said.tokens
        h = x.flatten(2)
        if attn.group_norm is not None:
            h = attn.group_norm(h)
        h = h.transpose(1, 2)  # [N, places, C]
        query = _heads(attn.to_q(h), attn.heads)
        made = F.scaled_dot_product_attention(
            query, _heads(attn.to_k(h), attn.heads), _heads(attn.to_v(h), attn.heads)
        )
        made = made + F.scaled_dot_product_attention(
            query, _heads(self.to_k(tokens), attn.heads), _heads(self.to_v(tokens), attn.heads)
        )
        made = attn.to_out[1](attn.to_out[0](made.transpose(1, 2).flatten(2)))
        made = made.transpose(1, 2).reshape(x.shape)
        return (made + x if attn.residual_connection else made) / attn.rescale_output_factor


def _heads(h: Tensor, heads: int) -> Tensor:
    """[N, T, C] -> [N, heads, T, C / heads]."""
    return h.unflatten(2, (heads, -1)).transpose(1, 2)
