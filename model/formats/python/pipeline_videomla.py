"""Streams video latents chunk by chunk with the network of modeling_videomla.py and its latent cache.

    pipeline = VideoMLAPipeline.from_folder("FOLDER").to("cuda")
    for latents in pipeline.stream(text_embeddings, frames=81, height=60, width=104):
        ...  # [B, chunk, C, height, width], normalised as the base model's VAE expects them

`frames`, `height` and `width` are those of the latents. Text embeddings come from the base model's text encoder. How the
model was trained to be sampled stands in sampling.json; arguments override it. A model that was trained on whole clips
(`causal` false) gives all frames as one chunk.
"""

import json
import math
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from modeling_videomla import CausalWanMLATransformer3DModel, LatentCache

DEFAULTS = {
    "causal": True,  # chunk by chunk; else all frames at once, as one chunk
    "sampler": "few_step",  # or unipc, euler
    "denoising_step_list": [1000, 750, 500, 250],  # of few_step, before the shift
    "first_chunk_denoising_step_list": [],  # the same for a video's first chunk; empty: as the others
    "steps": 50,  # of unipc and euler
    "timestep_shift": 5.0,
    "guidance_scale": 1.0,
    "context_noise": 0.0,  # the time at which a finished chunk is kept
}


def shifted(u, shift):
    """Noise level of the uniform u under a timestep shift."""
    return shift * u / (1 + (shift - 1) * u)


def unipc(sigmas, x, velocity):
    """UniPC of order 2 ("bh2"), predicting the clean chunk: at each noise level of `sigmas` the present x is corrected
    by the new prediction, and the next one is predicted. The last prediction is the result."""
    snr = [math.log((1 - sigma) / sigma) for sigma in sigmas]  # half its logarithm
    clean, start = [], None  # predictions so far; x that the last step began with
    for i, sigma in enumerate(sigmas):
        clean.append(x - sigma * velocity(x, sigma))
        if i > 0:
            h = snr[i] - snr[i - 1]
            p = math.expm1(-h)
            change = clean[i] - clean[i - 1]
            if i == 1:
                correction = change / 2
            else:  # fits the last two changes: the weights solve [[1, 1], [r, 1]] w = [b1, b2]
                r = (snr[i - 2] - snr[i - 1]) / h
                g1 = -p / h - 1
                b1, b2 = g1 / p, 2 * (-g1 / h - 0.5) / p
                w = (b1 - b2) / (1 - r)
                correction = w / r * (clean[i - 2] - clean[i - 1]) + (b1 - w) * change
            x = sigma / sigmas[i - 1] * start - (1 - sigma) * p * (clean[i - 1] + correction)
        if i + 1 == len(sigmas):
            return clean[i]
        start, after = x, sigmas[i + 1]
        h = snr[i + 1] - snr[i]
        slope = (clean[i - 1] - clean[i]) * (h / (2 * (snr[i - 1] - snr[i]))) if i > 0 else 0
        x = after / sigma * x - (1 - after) * math.expm1(-h) * (clean[i] + slope)


class VideoMLAPipeline(DiffusionPipeline):
    def __init__(self, transformer, sampling=None):
        super().__init__()
        self.register_modules(transformer=transformer)
        self.sampling = DEFAULTS | (sampling or {})

    @classmethod
    def from_folder(cls, folder, **options):
        """`options` go to the network's from_pretrained (torch_dtype, ...)."""
        transformer = CausalWanMLATransformer3DModel.from_pretrained(folder, **options).eval()
        stated = Path(folder) / "sampling.json"
        return cls(transformer, json.loads(stated.read_text()) if stated.exists() else None)

    @torch.no_grad()
    def stream(self, text, frames, height=60, width=104, negative_text=None, generator=None, noise=None, renoise=None,
               **overrides):  # fmt: skip
        """Yields the latents of each chunk. `noise` [B, F, C, H, W] and, for few_step, `renoise` [steps, B, F, C, H, W]
        take the place of what `generator` draws."""
        settings = self.sampling | overrides
        net, scale = self.transformer, settings["guidance_scale"]
        if scale != 1 and negative_text is None:
            raise ValueError("guidance needs negative_text, the embedding of the prompt to steer away from")
        batch, channels = text.shape[0], net.config.in_dim
        branches = [(text, LatentCache())] + ([(negative_text, LatentCache())] if scale != 1 else [])

        def draw(count):
            shape = (batch, count, channels, height, width)
            return torch.randn(shape, generator=generator, device=generator.device if generator else None)

        chunks = net.chunks(frames) if settings["causal"] else [list(range(frames))]
        for chunk in chunks:
            start = draw(len(chunk)) if noise is None else noise[:, chunk]
            start = start.to(self.device, torch.float32)

            def velocity(x, sigma):
                times = x.new_full(x.shape[:2], 1000 * sigma)
                if settings["causal"]:
                    flows = [net.denoise_chunk(x, times, words, chunk, cache) for words, cache in branches]
                else:
                    flows = [net(x, times, words, "bidirectional") for words, _ in branches]
                return flows[0] if scale == 1 else flows[1] + scale * (flows[0] - flows[1])

            def fresh(k):
                return (draw(len(chunk)) if renoise is None else renoise[k][:, chunk]).to(start)

            steps = chunk[0] == 0 and settings["first_chunk_denoising_step_list"] or settings["denoising_step_list"]
            x = self.solve(settings | {"denoising_step_list": steps}, start, velocity, fresh)
            yield x
            if chunk[-1] + 1 < frames:
                times = x.new_full(x.shape[:2], settings["context_noise"])
                for words, cache in branches:
                    net.keep_chunk(x, times, words, chunk, cache)

    @staticmethod
    def solve(settings, x, velocity, fresh):
        """Takes noise to a clean chunk: few_step predicts it at each listed time and adds noise for the next one."""
        shift = settings["timestep_shift"]
        if settings["sampler"] == "few_step":
            sigmas = [shifted(t / 1000, shift) for t in settings["denoising_step_list"] if t > 0]
            for k, sigma in enumerate(sigmas):
                clean = x - sigma * velocity(x, sigma)
                if k + 1 < len(sigmas):
                    x = (1 - sigmas[k + 1]) * clean + sigmas[k + 1] * fresh(k)
            return clean
        count = settings["steps"]
        if settings["sampler"] == "unipc":
            return unipc([shifted(0.999 * (1 - i / count), shift) for i in range(count)], x, velocity)
        if settings["sampler"] != "euler":
            raise ValueError(f"sampler {settings['sampler']!r}: few_step, unipc or euler is needed")
        sigmas = [shifted(1 - i / count, shift) for i in range(count)] + [0.0]
        for now, after in zip(sigmas, sigmas[1:]):
            x = x + (after - now) * velocity(x, now)
        return x

    def __call__(self, text, frames, **options):
        """The whole video [B, F, C, H, W]."""
        return torch.cat(list(self.stream(text, frames, **options)), 1)
