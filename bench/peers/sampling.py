"""Few-step streaming sampling of a tiny latent-attention student in Python, chunk by chunk over a KV cache.

    python bench/peers/sampling.py SPEC.json [--threads 1] [--units 76] [--warmup 4] [--compile]

SPEC.json is written by bench/sampling.py: shape, weights, `steps` as the network sees them, and files of tensors.
`inputs`: noise [F, C, H, W], renoise [steps - 1, F, C, H, W], text [T, text_dim]. Writes `output`, latents
[F, C, H, W], and prints one JSON object: times of a chunk, its denoising passes and the cache fill of the one before.

The algorithm is the program's: predict the clean chunk at each step, add the next step's noise, run the finished chunk
once more at t = 0 into the cache; sink and last frames attended, positions by rank in that set. Tuned as a competent
user would: inference mode, text keys and values and embeddings of the timesteps once a video, rotary tables once, the
window's keys and values expanded and rotated once a chunk instead of once a pass, no output projection where only keys
and values are wanted.
"""

from __future__ import annotations

import json

from steady_state import arguments, measured, packed


def main() -> None:
    args = arguments(__doc__)
    import torch
    from safetensors.torch import load_file, save_file

    from attention_plan import PeerConfig
    from streaming_dit import StreamingDit

    spec = args.spec
    model = StreamingDit(PeerConfig.of(spec["shape"], complex_rope=False))
    model.load_state_dict(load_file(spec["weights"]), strict=True)
    if args.compile:
        model.compile_fixed()
    inputs = load_file(spec["inputs"])
    noise, renoise = inputs["noise"].unsqueeze(0), inputs["renoise"].unsqueeze(1)
    steps, block = spec["steps"], model.config.num_frame_per_block
    video: list[torch.Tensor] = []

    def chunk(i: int) -> None:
        if video:
            model.fill(video[-1])
        frames = slice(i * block, (i + 1) * block)
        model.open_chunk(frames.start)
        x = packed(noise[:, frames])
        for k, t in enumerate(steps):
            clean = x - model.flow(x, k) * (t / 1000)
            if k + 1 < len(steps):
                sigma = steps[k + 1] / 1000
                x = clean * (1 - sigma) + renoise[k][:, frames] * sigma
        video.append(clean)

    with torch.inference_mode():
        model.begin(inputs["text"].unsqueeze(0), steps)
        _, times = measured(chunk, args.warmup, args.units)
    save_file({"latents": torch.cat(video, 1)[0].contiguous()}, spec["output"])
    print(json.dumps(times))


if __name__ == "__main__":
    main()
