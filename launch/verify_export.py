#!/usr/bin/env python3
"""Loads an export with the program that it is for, and writes into its export_manifest.json what was verified.

    python launch/verify_export.py EXPORT [--vmla build/vmla]

Needs PyTorch, safetensors and diffusers. Two checks: `tensors`, every tensor that the other
program holds has the hash of the manifest; `forward`, its flow in fp32 on random inputs is that of `vmla forward` (the
largest deviation over the rms). The manifest names the program and its version. Status 1: it is not what was exported;
2: there is nothing that can be verified.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

LIMIT = 1e-4  # two fp32 computations of one network, in units of the rms
FRAMES, HEIGHT, WIDTH, TEXT_ROWS = 6, 6, 8, 4


class Mismatch(Exception):
    """The export is not what its manifest says."""


def digest(tensor):
    return hashlib.sha256(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def expect_hashes(tensors, manifest, kind=None):
    """The loaded tensors are those of the manifest, whatever the program calls them.

    `kind` is the type in the file. They are loaded as fp32, which loses nothing, because a program that loads in bf16
    rounds its rotary tables too and would be compared with those.
    """
    wanted = {}
    for name, value in manifest["tensors"].items():
        wanted.setdefault(value, []).append(name)
    for name, tensor in tensors.items():
        names = wanted.get(digest(tensor.to(kind or tensor.dtype).reshape(-1)))
        if not names:
            raise Mismatch(f"tensor {name} is loaded with other values than were exported")
        if len(names) > 1:
            names.pop()
    if len(tensors) != len(manifest["tensors"]):
        raise Mismatch(f"{len(tensors)} tensors are loaded, {len(manifest['tensors'])} were exported")


def random_inputs(channels, text_dim, frames):
    g = torch.Generator().manual_seed(1)
    shape = (1, frames, channels, HEIGHT, WIDTH)
    return {
        "latents": torch.randn(shape, generator=g),
        "timesteps": torch.full((1, frames), 437.0),
        "text": torch.randn((1, TEXT_ROWS, text_dim), generator=g),
        "clean_latents": torch.randn(shape, generator=g),
    }


def our_flow(vmla, weights, inputs, mode):
    from safetensors.torch import load_file, save_file

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.safetensors", Path(folder) / "out.safetensors"
        save_file(inputs, source)
        command = [vmla, "forward", "--weights", weights, "--inputs", source, "--output", target, "--mode", mode]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode != 0:
            raise Mismatch(f"vmla forward: {done.stderr.strip()}")
        return load_file(target)["flow"]


def deviation(actual, expected):
    return float((actual - expected).abs().max() / expected.square().mean().sqrt())


def stored_type(folder):
    from safetensors import safe_open

    file = next(p for p in sorted(folder.rglob("*.safetensors")))
    with safe_open(file, "pt") as opened:
        return opened.get_tensor(next(iter(opened.keys()))).dtype


def check_torch(folder, manifest, vmla):
    """Both dicts of the file by torch.load, and what plain PyTorch computes with them."""
    whole = torch.load(folder / "model.pt", map_location="cpu", weights_only=True, mmap=True)
    for key in ("generator_ema", "generator"):
        expect_hashes(whole[key], manifest)
    tensors = whole["generator_ema"]
    config = json.loads((folder / "config.json").read_text())
    if "kv_lora_rank" in config:
        network = load_network(Path(__file__).resolve().parents[1] / "model" / "formats" / "python")
        model = network.from_config(config)
        model.load_state_dict({name.removeprefix("model."): t.float() for name, t in tensors.items()}, strict=True)
        verifier, error = "modeling_videomla", latent_error(model, folder / "model.pt", vmla)
    else:
        verifier, error = check_wan(tensors, manifest, config, folder / "model.pt", vmla)
    return f"{verifier}, torch {torch.__version__}", {"tensors": 0.0, "forward": error}


def check_wan_files(folder, manifest, vmla):
    """safetensors under Wan's names: diffusers recognises and renames them."""
    from safetensors.torch import load_file

    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    verifier, error = check_wan(tensors, manifest, json.loads((folder / "config.json").read_text()), folder, vmla)
    return verifier, {"tensors": 0.0, "forward": error}


def check_wan(tensors, manifest, config, weights, vmla):
    """`weights` is what `vmla forward` reads."""
    import diffusers

    kind = next(iter(tensors.values())).dtype
    plain = {name.removeprefix("model."): t.float() for name, t in tensors.items()}
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "config.json").write_text(json.dumps(diffusers_config(config)))
        model = diffusers.WanTransformer3DModel.from_single_file(plain, config=place, torch_dtype=torch.float32)
    expect_hashes(model.state_dict(), manifest, kind)
    return f"diffusers {diffusers.__version__}", diffusers_error(model, config["text_len"], weights, vmla)


def diffusers_error(model, text_len, weights, vmla):
    inputs = random_inputs(model.config.in_channels, model.config.text_dim, FRAMES)
    # diffusers leaves it to its caller to fill the text up with zeros.
    text = torch.nn.functional.pad(inputs["text"], (0, 0, 0, text_len - TEXT_ROWS))
    with torch.no_grad():
        flow = model.eval()(
            hidden_states=inputs["latents"].transpose(1, 2), timestep=inputs["timesteps"][:, 0],
            encoder_hidden_states=text, return_dict=False)[0].transpose(1, 2)  # fmt: skip
    return deviation(flow, our_flow(vmla, weights, inputs, "bidirectional"))


def check_diffusers(folder, manifest, vmla):
    import diffusers

    inner = folder / "transformer" if manifest["layout"] == "diffusers_causal" else folder
    model = diffusers.WanTransformer3DModel.from_pretrained(inner, torch_dtype=torch.float32)
    expect_hashes(model.state_dict(), manifest, stored_type(folder))
    text_len = json.loads((inner / "config.json").read_text()).get("text_len", 512)
    error = diffusers_error(model, text_len, folder, vmla)
    return f"diffusers {diffusers.__version__}", {"tensors": 0.0, "forward": error}


def diffusers_config(wan):
    """The configuration of diffusers' class for Wan's."""
    return {
        "_class_name": "WanTransformer3DModel", "attention_head_dim": wan["dim"] // wan["num_heads"],
        "cross_attn_norm": True, "eps": wan["eps"], "ffn_dim": wan["ffn_dim"], "freq_dim": wan["freq_dim"],
        "in_channels": wan["in_dim"], "num_attention_heads": wan["num_heads"], "num_layers": wan["num_layers"],
        "out_channels": wan["out_dim"], "patch_size": wan["patch_size"], "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 1024, "text_dim": wan["text_dim"],
    }  # fmt: skip


def load_network(folder):
    """The class in the folder's modeling_videomla.py."""
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location("modeling_videomla", folder / "modeling_videomla.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CausalWanMLATransformer3DModel


def check_videomla(folder, manifest, vmla):
    kind = stored_type(folder)
    model = load_network(folder).from_pretrained(folder, torch_dtype=torch.float32)
    expect_hashes(model.state_dict(), manifest, kind)
    return "modeling_videomla", {"tensors": 0.0, "forward": latent_error(model, folder, vmla)}


def latent_error(model, weights, vmla):
    model.eval()
    c = model.config
    # Past the window, if there is one, so that frames are evicted.
    frames = 2 * c.num_frame_per_block + max(0, c.local_attn_size // c.num_frame_per_block * c.num_frame_per_block)
    inputs = random_inputs(c.in_dim, c.text_dim, frames + (1 if c.independent_first_frame else 0))
    error = 0.0
    for mode in ("bidirectional", "chunk_causal", "teacher_forcing", "cached"):
        with torch.no_grad():
            flow = model(inputs["latents"], inputs["timesteps"], inputs["text"], mode, inputs["clean_latents"])
        error = max(error, deviation(flow, our_flow(vmla, weights, inputs, mode)))
    return error


CHECKS = {
    "pt": check_torch,
    "wan": check_wan_files,
    "wan_single": check_wan_files,
    "lightx2v": check_wan_files,
    "diffusers": check_diffusers,
    "diffusers_causal": check_diffusers,
    "videomla": check_videomla,
}


def add_checks(path, manifest, verifier, errors):
    """Replaces what the same program verified before; the file changes in one step."""
    kept = [c for c in manifest["checks"] if c["verifier"] != verifier]
    manifest["checks"] = kept + [{"name": n, "verifier": verifier, "error": e} for n, e in errors.items()]
    new = path.with_name(".tmp-" + path.name)
    new.write_text(json.dumps(manifest, indent=2) + "\n")
    os.replace(new, path)


def fail(folder, problem, status):
    print(f"{folder}: {' '.join(str(problem).split())}", file=sys.stderr)
    return status


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path, help="folder of vmla export")
    parser.add_argument("--vmla", default=Path(__file__).resolve().parents[1] / "build" / "vmla", help="the program")
    args = parser.parse_args(arguments)
    path = args.export / "export_manifest.json"
    if not path.is_file():
        return fail(args.export, "no export_manifest.json: not a folder of vmla export", 2)
    manifest = json.loads(path.read_text())
    check = CHECKS.get(manifest.get("layout"))
    if check is None:
        return fail(args.export, f"no program to verify the layout {manifest.get('layout')!r} with", 2)
    try:
        verifier, errors = check(args.export, manifest, args.vmla)
        if max(errors.values()) > LIMIT:
            raise Mismatch(f"{verifier} computes another flow: {max(errors.values()):.2g} of its rms, at most {LIMIT:g}")
    except (Mismatch, OSError, RuntimeError, ValueError) as problem:
        return fail(args.export, problem, 1)
    add_checks(path, manifest, verifier, errors)
    print(f"{args.export}: verified by {verifier}: " + ", ".join(f"{n} {e:.2g}" for n, e in errors.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
