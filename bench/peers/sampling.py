"""Few-step streaming sampling of a tiny latent-attention student in eager Python, chunk by chunk over a KV cache.

    python bench/peers/sampling.py --weights generator.safetensors --inputs in.safetensors --output out.safetensors \
        --shape shape.json --steps 1000,937.5,833.333,625 [--threads 1]

Inputs: noise [F, C, H, W], renoise [steps - 1, F, C, H, W], text [T, text_dim]. Writes latents [F, C, H, W] and prints
one JSON object: seconds of every chunk's denoising passes, and of all cache fills together.

The algorithm is the program's: predict the clean chunk at each step, add the next step's noise, run the finished chunk
once more at t = 0 into the cache; sink and last frames attended, positions by rank in that set. Tuned as a competent
user would: inference mode, text keys and values once a video, rotary tables once, the window's keys and values
expanded and rotated once a chunk instead of once a pass, no output projection where only keys and values are wanted.
"""

from __future__ import annotations

import argparse
import json
import os
import time


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--inputs", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--shape", required=True, help="JSON file with fields of PeerConfig")
    parser.add_argument("--steps", required=True, help="timesteps as the network sees them, separated by commas")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    # Before torch loads: idle OpenMP threads sleep, so that a peer running beside is not slowed by spinning.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import torch
    from safetensors.torch import load_file, save_file

    from attention_plan import PeerConfig
    from streaming_dit import StreamingDit

    torch.set_num_threads(args.threads)
    config = PeerConfig.of(json.load(open(args.shape)), complex_rope=False)
    model = StreamingDit(config)
    model.load_state_dict(load_file(args.weights), strict=True)
    inputs = load_file(args.inputs)
    noise, renoise = inputs["noise"].unsqueeze(0), inputs["renoise"].unsqueeze(1)
    steps = [float(t) for t in args.steps.split(",")]
    block, total = config.num_frame_per_block, noise.shape[1]

    chunk_seconds, cache_seconds, video = [], 0.0, []
    with torch.inference_mode():
        model.begin(inputs["text"].unsqueeze(0))
        for first in range(0, total, block):
            begin = time.perf_counter()
            frames = slice(first, first + block)
            model.open_chunk(first)
            x = noise[:, frames]
            for k, t in enumerate(steps):
                clean = x - model.flow(x, t) * (t / 1000)
                if k + 1 < len(steps):
                    sigma = steps[k + 1] / 1000
                    x = clean * (1 - sigma) + renoise[k][:, frames] * sigma
            chunk_seconds.append(time.perf_counter() - begin)
            video.append(clean)
            begin = time.perf_counter()
            if first + block < total:
                model.fill(clean)
            cache_seconds += time.perf_counter() - begin
    save_file({"latents": torch.cat(video, 1)[0].contiguous()}, args.output)
    print(json.dumps({"threads": args.threads, "seconds_per_chunk": chunk_seconds, "cache_seconds": cache_seconds}))


if __name__ == "__main__":
    main()
