"""What other programs do with the tensors' names and headers of a file that they load, as far as it can be said without
them: which entry they take, which prefix they drop, which names they must then find (see docs/formats.md, "Exports").

Each function returns the tensors under the names of the program's own network, or raises LoaderError as it would.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file


class LoaderError(Exception):
    pass


def torch_dict(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=True)


def entry_of(path: Path, keys) -> dict:
    """The first of `keys` in a file of torch.save, else the whole dict; a safetensors file as it is."""
    if path.suffix == ".safetensors":
        return load_file(path)
    whole = torch_dict(path)
    return next((whole[key] for key in keys if key in whole), whole)


def strict(tensors: dict, wanted) -> dict:
    """load_state_dict(strict=True)."""
    missing, extra = set(wanted) - set(tensors), set(tensors) - set(wanted)
    if missing or extra:
        raise LoaderError(f"missing {sorted(missing)[:3]}, unexpected {sorted(extra)[:3]}")
    return tensors


def self_forcing(path: Path, wanted, key: str) -> dict:
    """The wrapper holds the network as `model`; the dict of `key` must fit it."""
    whole = torch_dict(path)
    return {n.removeprefix("model."): t for n, t in strict(whole[key], [f"model.{n}" for n in wanted]).items()}


def lightx2v(path: Path, wanted) -> dict:
    """Drops the first six characters of every name, whatever they are."""
    return strict({n[6:]: t for n, t in entry_of(path, ["generator_ema"]).items()}, wanted)


def flashdreams(path: Path, wanted) -> dict:
    """generator_ema, else generator; `model.` or `net.` and FSDP's infix go."""
    tensors = entry_of(path, ["generator_ema", "generator"])
    for prefix in ("model.", "net."):
        tensors = {n.removeprefix(prefix): t for n, t in tensors.items()}
    return strict({n.replace("_fsdp_wrapped_module.", ""): t for n, t in tensors.items()}, wanted)


def scope(path: Path, wanted) -> dict:
    """`model.` goes where all names have it. It would load what lacks tensors, and draw them from nowhere."""
    tensors = entry_of(path, ["generator"])
    if all(n.startswith("model.") for n in tensors):
        tensors = {n.removeprefix("model."): t for n, t in tensors.items()}
    return strict(tensors, wanted)


def comfyui(path: Path, wanted) -> tuple[dict, bool]:
    """A bare file under Wan's names; the header's `config` makes it a causal model. Returns the tensors and whether."""
    with safe_open(path, "pt") as file:
        config = json.loads((file.metadata() or {}).get("config", "{}"))
    tensors = {n.removeprefix("model.diffusion_model."): t for n, t in load_file(path).items()}
    return strict(tensors, wanted), bool(config.get("transformer", {}).get("causal_ar", False))


def pipeline_folder(folder: Path, wanted) -> tuple[dict, dict]:
    """FastVideo and SGLang: the pipeline's class name chooses, every safetensors file of `transformer` is read, strictly.

    Returns the tensors and the transformer's configuration.
    """
    index = json.loads((folder / "model_index.json").read_text())
    config = json.loads((folder / "transformer" / "config.json").read_text())
    if index["_class_name"] != "WanCausalDMDPipeline" or config["_class_name"] != "CausalWanTransformer3DModel":
        raise LoaderError(f"{index['_class_name']} and {config['_class_name']} are not the causal classes")
    if not config["num_frames_per_block"] <= 3:
        raise LoaderError("FastVideo: chunks have at most 3 frames")
    tensors = {}
    for file in sorted((folder / "transformer").glob("*.safetensors")):
        tensors |= load_file(file)
    return strict(tensors, wanted), config
