"""A streaming engine made of diffusers' own network and a cache of keys by the engine's rules, run on the exported folder.

The engines themselves need a GPU and a server. What they add to diffusers' blocks is a cache: how many frames it keeps,
which of them are never evicted, and whether keys are cached before or after they are rotated. These rules stand here once
more, written from their description (docs/formats.md, "Windows and positions of other engines"), and take every setting
from the folder that was exported. What comes out must be the model's own stream up to the frame that the manifest says,
and, where that is a limit, no further.
"""

import json

import pytest
import torch

from parity import TOLERANCE, deviation, random_inputs
from program import forward, vmla, write_yaml
from reference.model_config import ModelConfig
from reference.weights import random_weights, write_wan_folder

DENSE = ModelConfig(text_len=512)
FRAMES, HEIGHT, WIDTH = 15, 4, 6
FEW_STEP = {"name": "dmd", "dmd": {"timestep_shift": 5.0, "denoising_step_list": [1000, 750, 500, 250]}}


class CachedAttention:
    """Attention processor of one block's self-attention: the engine's cache."""

    def __init__(self, engine):
        self.engine, self.keys, self.values = engine, [], []  # of each frame [B, tokens, heads, channels]

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):
        engine = self.engine
        query = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        key = attn.norm_k(attn.to_k(hidden_states)).unflatten(2, (attn.heads, -1))
        value = attn.to_v(hidden_states).unflatten(2, (attn.heads, -1))
        own = [slice(i * engine.tokens, (i + 1) * engine.tokens) for i in range(engine.chunk)]
        numbers = engine.kept + list(range(engine.start, engine.start + engine.chunk))
        if engine.relative:
            places = list(range(len(numbers)))  # frames move up as others are evicted
        else:
            places = numbers
        mine = places[-engine.chunk :]
        new_keys = [key[:, part] for part in own]
        if not engine.relative:  # rotated once, when they are cached
            new_keys = [engine.rotated(k, place) for k, place in zip(new_keys, mine)]
        keys = [self.keys[n] for n in engine.kept] + new_keys
        if engine.relative:
            keys = [engine.rotated(k, place) for k, place in zip(keys, places)]
        values = [self.values[n] for n in engine.kept] + [value[:, part] for part in own]
        query = torch.cat([engine.rotated(query[:, part], place) for part, place in zip(own, mine)], 1)
        out = torch.nn.functional.scaled_dot_product_attention(
            query.transpose(1, 2), torch.cat(keys, 1).transpose(1, 2), torch.cat(values, 1).transpose(1, 2)
        )
        if engine.fills:
            self.keys += new_keys
            self.values += [value[:, part] for part in own]
        return attn.to_out[1](attn.to_out[0](out.transpose(1, 2).flatten(2)))


class Engine:
    """`window`, `sink`, `chunk`: frames; `relative`: keys are rotated by their place in the window when they are read."""

    def __init__(self, folder, window, relative):
        from diffusers import WanTransformer3DModel

        self.config = json.loads((folder / "transformer" / "config.json").read_text())
        self.model = WanTransformer3DModel.from_pretrained(folder / "transformer").eval()
        self.window, self.sink, self.chunk = window, self.config["sink_size"], self.config["num_frames_per_block"]
        self.relative, self.fills, self.start, self.kept = relative, False, 0, []
        for block in self.model.blocks:
            block.attn1.set_processor(CachedAttention(self))

    def rotated(self, x, place):
        cos, sin = (part[:, place * self.tokens : (place + 1) * self.tokens] for part in self.rotations)
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        cos, sin = cos[..., 0::2], sin[..., 1::2]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).type_as(x)

    def step(self, latents, timesteps, text):
        per_token = timesteps.repeat_interleave(self.tokens, 1)
        return self.model(latents.transpose(1, 2), per_token, text, return_dict=False)[0].transpose(1, 2)

    @torch.no_grad()
    def stream(self, inputs):
        """The flow of every noisy chunk, whose clean version is then cached at time 0."""
        latents, clean = inputs["latents"], inputs["clean_latents"]
        batch, frames, channels, height, width = latents.shape
        self.tokens = (height // 2) * (width // 2)
        self.rotations = self.model.rope(latents.new_empty(1, channels, frames, height, width))
        text = latents.new_zeros(batch, self.config["text_len"], self.config["text_dim"])
        text[:, : inputs["text"].shape[1]] = inputs["text"]
        flow = []
        for self.start in range(0, frames, self.chunk):
            part = slice(self.start, self.start + self.chunk)
            recent = self.window - self.sink - self.chunk
            past = range(self.start)
            self.kept = [n for n in past if n < self.sink or n >= self.start - recent]
            self.fills = False
            flow.append(self.step(latents[:, part], inputs["timesteps"][:, part], text))
            self.fills = True
            self.step(clean[:, part], torch.zeros_like(inputs["timesteps"][:, part]), text)
        return torch.cat(flow, 1)


def case(tmp_path, window, sink, chunk):
    """The exported folder, random inputs and the model's own stream of them."""
    weights = random_weights(DENSE, seed=41)
    wan = write_wan_folder(tmp_path / "wan", DENSE, weights)
    model = {"num_frame_per_block": chunk, "local_attn_size": window, "sink_size": sink}
    yaml = write_yaml(tmp_path / "stage.yaml", {"model": model, "objective": FEW_STEP})
    folder = tmp_path / "folder"
    vmla("export", "--checkpoint", wan, "--config", yaml, "--format", "diffusers_causal", "--out", folder, "--dtype", "fp32")
    inputs = random_inputs(DENSE, batch=2, frames=FRAMES, height=HEIGHT, width=WIDTH, text_rows=5, seed=42)
    return folder, inputs, forward(wan, inputs, "cached", tmp_path, "--config", yaml)


def exact_frames(folder, engine):
    notes = json.loads((folder / "export_manifest.json").read_text())["engines"]
    return next(n["exact_frames"] for n in notes if n["engine"] == engine)


@pytest.mark.parametrize(("window", "sink", "chunk"), [(7, 1, 3), (6, 3, 3), (4, 1, 1)])
def test_fastvideo_streams_the_model_to_any_length(window, sink, chunk, tmp_path):
    folder, inputs, ours = case(tmp_path, window, sink, chunk)
    assert exact_frames(folder, "FastVideo") is None
    config = json.loads((folder / "transformer" / "config.json").read_text())
    engine = Engine(folder, config["local_attn_size"], config["rope_cache_policy"] == "relativistic")
    assert deviation(engine.stream(inputs), ours) <= TOLERANCE


def test_without_a_sink_absolute_positions_are_as_good(tmp_path):
    """All positions of a chunk are then off by one number, and rotations by it cancel."""
    folder, inputs, ours = case(tmp_path, 6, 0, 3)
    config = json.loads((folder / "transformer" / "config.json").read_text())
    assert config["rope_cache_policy"] == "absolute" and config["sliding_window_num_frames"] == config["local_attn_size"]
    assert exact_frames(folder, "FastVideo") == exact_frames(folder, "SGLang") == 1024
    theirs = Engine(folder, config["local_attn_size"], relative=False).stream(inputs)
    assert deviation(theirs, ours) <= TOLERANCE


@pytest.mark.parametrize(("window", "sink", "chunk"), [(6, 3, 3), (7, 1, 3), (4, 1, 1)])
def test_sglang_streams_the_model_as_far_as_the_manifest_says(window, sink, chunk, tmp_path):
    folder, inputs, ours = case(tmp_path, window, sink, chunk)
    limit = exact_frames(folder, "SGLang") // chunk * chunk  # it computes whole chunks
    config = json.loads((folder / "transformer" / "config.json").read_text())
    theirs = Engine(folder, config["sliding_window_num_frames"], relative=False).stream(inputs)
    assert deviation(theirs[:, :limit], ours[:, :limit]) <= TOLERANCE
    after = slice(limit, limit + chunk)
    assert deviation(theirs[:, after], ours[:, after]) > 100 * TOLERANCE, "the limit is one"


@pytest.mark.parametrize("key", ["local_attn_size", "sink_size"])
def test_another_value_in_the_folder_is_another_stream(key, tmp_path):
    folder, inputs, ours = case(tmp_path, 7, 1, 3)
    path = folder / "transformer" / "config.json"
    config = json.loads(path.read_text())
    config[key] += 1
    path.write_text(json.dumps(config))
    theirs = Engine(folder, config["local_attn_size"], relative=True).stream(inputs)
    assert deviation(theirs, ours) > 100 * TOLERANCE
