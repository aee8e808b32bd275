"""Runs the built program the way a user does: arguments in, files and an exit status out."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file

REPOSITORY = Path(__file__).resolve().parents[2]
VMLA = Path(os.environ.get("VMLA", REPOSITORY / "build" / "vmla"))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def run(*arguments, timeout: float = 240) -> subprocess.CompletedProcess:
    """Runs `vmla ARGUMENTS` to its end; any exit status is returned."""
    command = [str(VMLA), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=ENVIRONMENT, cwd=REPOSITORY)


def start(*arguments) -> subprocess.Popen:
    command = [str(VMLA), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=REPOSITORY
    )


def stopped_when_stored(*arguments, parts: Path) -> str:
    """Stops a job over many clips as soon as the first of them lie in the folder `parts`. Returns what it said."""
    job = start(*arguments)
    while not (parts.exists() and any(parts.iterdir())):
        assert job.poll() is None, job.communicate()
        time.sleep(0.005)
    job.send_signal(signal.SIGTERM)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 75, said
    return said


def vmla(*arguments, timeout: float = 240) -> subprocess.CompletedProcess:
    """Runs `vmla ARGUMENTS`, which must succeed."""
    done = run(*arguments, timeout=timeout)
    assert done.returncode == 0, f"vmla {' '.join(map(str, arguments))}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


def overrides(settings: dict) -> list[str]:
    """{'train.steps': 3} -> ['--set', 'train.steps=3'], lists in YAML's flow form."""
    arguments = []
    for key, value in settings.items():
        text = yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("\n...").strip()
        arguments += ["--set", f"{key}={text}"]
    return arguments


def model_section(config, **extra) -> dict:
    """The section `model` of a configuration file for a reference config."""
    section = {
        "attention": config.attention,
        "num_frame_per_block": config.num_frame_per_block,
        "local_attn_size": config.local_attn_size,
        "sink_size": config.sink_size,
        "independent_first_frame": config.independent_first_frame,
        "rope_cache_policy": config.rope_cache_policy,
        **extra,
    }
    for name in ("dim", "ffn_dim", "freq_dim", "in_dim", "out_dim", "num_heads", "num_layers", "text_len", "text_dim"):
        section[name] = getattr(config, name)
    section["eps"] = config.eps
    if config.attention == "mla":
        for name in ("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "bias"):
            section[name] = getattr(config, name)
        section["latent_norm_eps"] = config.latent_norm_eps
        section["rope_pair_indices"] = list(config.rope_pair_indices)
    return section


def write_yaml(path: Path, content: dict) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def write_tensors(path: Path, tensors: dict) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def forward(weights: Path, inputs: dict, mode: str, folder: Path, *extra) -> torch.Tensor:
    """`vmla forward`; returns the flow it wrote."""
    source = write_tensors(folder / "in.safetensors", inputs)
    target = folder / "out.safetensors"
    target.unlink(missing_ok=True)
    vmla("forward", "--weights", weights, "--inputs", source, "--output", target, "--mode", mode, *extra)
    flow = load_file(target)["flow"]
    assert flow.dtype == torch.float32 and flow.shape == inputs["latents"].shape
    return flow


def one_line_error(done: subprocess.CompletedProcess, *mentions, status: int = 2) -> str:
    """Checks the contract of bad input: the status, exactly one line on stderr, and what it must name."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == status, f"status {done.returncode}, not {status}: {done.stdout[-500:]} {done.stderr}"
    assert len(lines) == 1, f"not one line on stderr: {lines}"
    for mention in mentions:
        assert str(mention) in lines[0], f"{mention!r} is not named in: {lines[0]}"
    return lines[0]


def listing(folder):
    """Every file below a folder with its bytes."""
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
