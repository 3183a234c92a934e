"""Models of transformers, each made tiny by shrinking the numbers of its configuration.

`RULES` changes numbers by their names, in nested configurations too. Where no tiny model runs, the model keeps its own
widths and has fewer layers.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

import experiments.data.vision  # noqa: F401  # makes torchvision, which transformers imports, importable
from reference.zoo.entry import Entry, Subject, normal

__all__ = ["entries"]

VOCABULARY = 99
LIMIT = 15e6
# What a number becomes by its name, if it is larger; the first that matches.
RULES: dict[str, int] = {
    r"vocab_size|.*_vocab_size|type_vocab.*": VOCABULARY,
    r"(pad|bos|eos|cls|sep|mask|unk|decoder_start|blank)_token_id|blank": 0,
    r"(.*_)?key_value_heads|num_kv_heads": 2,
    r"(.*_)?(attention_heads|n?_?heads?|n_heads|num_heads)": 4,
    r"(.*_)?(layers|n_layer|depth|num_layers|n_layers|num_blocks)": 2,
    r"head_dim|d_kv|.*_head_dim|attention_head_size|kv_channels": 8,
    r"(q|kv|o)_lora_rank": 16,
    r"index_topk|index_n_heads": 4,
    r"(n_routed|num_local|moe_num|num|n)_experts": 4,
    r"(num_experts_per_tok|moe_top_?k|top_?k|num_selected_experts|n_shared_experts)": 2,
    r"n_group|topk_group": 1,
    r"embed_dim|embedding_dim": 48,
    r"(.*_)?(intermediate_size|ffn_dim|d_ff|mlp_dim|n_inner|ffn_hidden_size|inner_dim|intermediate_dim)": 64,
    r"(.*_)?(hidden_size|d_model|n_embd|dim|hidden_dim|embedding_size|emb_dim)": 32,
    r"(.*_)?(projection_dim|output_size|output_dim)": 32,
    r"image_size|pretrain_image_size": 32,
    r"patch_size": 8,
    r"max_source_positions": 20,
    r"(mamba_)?(d_)?state(_size)?|mamba_d_state|ssm_state_size": 8,
    r"num_queries|num_denoising|num_query_tokens": 6,
}
# What other lists become, from their own values.
DEPTHS = re.compile(r"(.*_)?(depths|layers|num_blocks)")
WIDTHS = re.compile(r"(.*_)?(hidden_sizes|dims|embed_dims|channels|conv_dim|tdnn_dim|neck_hidden_sizes)")
# The network under a detector.
BACKBONE = {
    "model_type": "resnet",
    "embedding_size": 16,
    "hidden_sizes": [16, 32, 48, 64],
    "depths": [1, 1, 1, 1],
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
THREE_LEVELS = {
    "encoder_in_channels": [32, 48, 64],
    "decoder_in_channels": [32, 32, 32],
    "backbone_config": {"out_features": ["stage2", "stage3", "stage4"]},
}
# What else a model's numbers have to be, to match each other.
EXCEPTIONS: dict[str, dict[str, Any]] = {
    "deepseek_v3": {"num_key_value_heads": 4},
    "esm": {"vocab_size": VOCABULARY, "pad_token_id": 1},
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4},
    "qwen2_5_vl": {"text_config": {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}}},
    "sam": {"vision_config": {"output_channels": 32, "num_pos_feats": 16}},
    "swin": {"image_size": 64, "window_size": 2},
    **dict.fromkeys(("d_fine", "rt_detr", "rt_detr_v2"), THREE_LEVELS),
}
# The inputs that are tried in turn.
INPUTS = (
    "input_ids",
    "pixel_values",
    "input_ids pixel_values",
    "input_values",
    "input_features",
    "input_ids decoder_input_ids",
    "input_features decoder_input_ids",
    "input_values decoder_input_ids",
    "pixel_values decoder_input_ids",
    "pixel_values_videos",
    "past_values",
    "input_ids bbox",
    "input_ids input_features",
)


def entries() -> list[Entry]:
    """Lists all architectures that have a base model.

    Raises:
        ModuleNotFoundError: if transformers is not installed.
    """
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    names = sorted(name for name in MODEL_MAPPING_NAMES if name in CONFIG_MAPPING)
    return [Entry(f"transformers.{name}", partial(_subject, name)) for name in names]


def _subject(name: str) -> Subject:
    """Builds the first of the tiny models that runs, and the first inputs that it takes."""
    from transformers import CONFIG_MAPPING, AutoModel, logging

    logging.set_verbosity_error()
    problem: Exception | None = None
    for shrunk in (_shrunk, _shortened):
        try:
            kind = CONFIG_MAPPING[name]
            config = kind(**_merged(shrunk(kind), EXCEPTIONS.get(name, {})))
            config.use_cache = False
            config._experts_implementation = "eager"  # grouped products take no float64
            with torch.device("meta"):
                count = sum(p.numel() for p in AutoModel.from_config(config).parameters())
            if count > LIMIT:
                raise ValueError(f"{count / 1e6:.0f} M parameters even when shrunk")
            model = AutoModel.from_config(config).eval()
        except Exception as error:  # whatever a configuration raises that does not take these numbers
            problem = problem or error
            continue
        for options in _inputs(model, config):
            try:
                with torch.no_grad():
                    model(**options)
                return Subject(model, (), options)
            except Exception as error:
                problem = problem or error
    raise problem or ValueError("expected one of the known inputs")


def _shrunk(kind: Any) -> dict[str, Any]:
    """Returns the options of a configuration of this kind that make it tiny."""
    options: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        name, value = field.name, field.default
        if isinstance(value, int) and not isinstance(value, bool):
            for pattern, most in RULES.items():
                if re.fullmatch(pattern, name):
                    options |= {name: most} if value > most else {}
                    break
        elif isinstance(value, list | tuple) and value and all(type(v) is int for v in value):
            if DEPTHS.fullmatch(name):
                options[name] = [min(v, 2) for v in value]
            elif WIDTHS.fullmatch(name) and value[0] > 16:
                options[name] = [max(16, v * 16 // value[0]) for v in value]
    return options | {name: _part(name, part, _shrunk) for name, part in _parts(kind)}


def _shortened(kind: Any) -> dict[str, Any]:
    """Returns options that leave a configuration its widths."""
    kept = [r for r in RULES if "layers" in r or "vocab" in r or "_token_id" in r]
    options = _shrunk(kind)
    chosen = {
        name: value for name, value in options.items() if any(re.fullmatch(pattern, name) for pattern in kept)
    }
    return chosen | {name: _part(name, part, _shortened) for name, part in _parts(kind)}


def _part(name: str, kind: Any, shrunk: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    return BACKBONE if name == "backbone_config" else shrunk(kind)


def _merged(options: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Joins nested options; the others prevail."""
    nested = {k: _merged(options[k], v) for k, v in others.items() if isinstance(options.get(k), dict)}
    return options | others | nested


def _parts(kind: Any) -> Iterator[tuple[str, Any]]:
    """Yields the nested configurations by name."""
    names = getattr(kind, "sub_configs", {})
    default = kind() if names else None
    for name in names:
        part = getattr(default, name, None)
        if dataclasses.is_dataclass(part):
            yield name, type(part)


def _inputs(model: torch.nn.Module, config: Any) -> Iterator[dict[str, Any]]:
    """Yields what the model may be called with."""
    taken = inspect.signature(model.forward).parameters
    texts = torch.randint(3, VOCABULARY - 1, (2, 8), generator=torch.Generator().manual_seed(0))
    side, channels = _find(config, "image_size", 64), _find(config, "num_channels", 3)
    sides = (side, side) if isinstance(side, int) else tuple(side)
    frames = _find(config, "num_frames", 4)
    positions = _find(config, "max_source_positions", 20)
    features = _find(config, "num_mel_bins", _find(config, "feature_size", 80))
    given = {
        "input_ids": texts,
        "decoder_input_ids": texts,
        "pixel_values": normal(2, channels, *sides),
        "pixel_values_videos": normal(2, frames, channels, *sides),
        "input_values": normal(2, 2000),
        "input_features": normal(2, features, 2 * positions),
        "past_values": normal(2, _find(config, "context_length", 32), _find(config, "num_input_channels", 1)),
        "bbox": texts[..., None].expand(-1, -1, 4).sort().values,
    }
    for names in map(str.split, INPUTS):
        if all(name in taken for name in names):
            yield {name: given[name] for name in names}
    if "spatial_shapes" in taken:  # images as patches
        patches = {"pixel_values": normal(2, 16, channels * _find(config, "patch_size", 16) ** 2)}
        patches |= {"pixel_attention_mask": torch.ones(2, 16), "spatial_shapes": torch.full((2, 2), 4)}
        yield patches | ({"input_ids": texts} if "input_ids" in taken else {})
    # Some take larger images, videos, or features last.
    if "pixel_values" in taken:
        yield {"pixel_values": normal(2, channels, 64, 64)}
        yield {"pixel_values": normal(2, frames, channels, *sides)}
    if "input_features" in taken:
        yield {"input_features": normal(2, 2 * positions, features)}


def _find(config: Any, name: str, default: Any) -> Any:
    """Returns an attribute of a configuration or of one that it holds."""
    if getattr(config, name, None) is not None:
        return getattr(config, name)
    for part in getattr(config, "sub_configs", {}):
        if (inner := getattr(config, part, None)) is not None:
            found = _find(inner, name, None)
            if found is not None:
                return found
    return default
