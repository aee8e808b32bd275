"""Chunks, attended sets and temporal positions (docs/algorithms.md 3.4 to 3.6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .model_config import ModelConfig


def chunks(config: ModelConfig, frames: int) -> list[list[int]]:
    """The frames of each chunk; with `independent_first_frame` frame 0 is a chunk of its own."""
    first = 1 if config.independent_first_frame else config.num_frame_per_block
    bounds = [0, *range(first, frames + 1, config.num_frame_per_block)]
    assert bounds[-1] == frames, "the clip must divide into chunks"
    return [list(range(low, high)) for low, high in zip(bounds, bounds[1:])]


def attended_frames(config: ModelConfig, chunk_end: int) -> list[int]:
    """sink ∪ last (window − sink) of the frames before `chunk_end`, ascending."""
    window, sink = config.local_attn_size, config.sink_size
    if window == -1:
        return list(range(chunk_end))
    return [f for f in range(chunk_end) if f < sink or f >= chunk_end - (window - sink)]


def positions_of(config: ModelConfig, attended: list[int]) -> dict[int, int]:
    """Temporal positions: ranks in the attended set, or the frames' own numbers."""
    if config.rope_cache_policy == "absolute":
        return {frame: frame for frame in attended}
    return {frame: rank for rank, frame in enumerate(attended)}


@dataclass
class QueryGroup:
    """Frame slots that share one attended set, and the temporal position of every slot in it."""

    queries: list[int]
    keys: list[int]
    query_positions: list[int]
    key_positions: list[int]


def bidirectional_plan(frames: int) -> list[QueryGroup]:
    every = list(range(frames))
    return [QueryGroup(every, every, every, every)]


def chunk_causal_plan(config: ModelConfig, frames: int) -> list[QueryGroup]:
    groups = []
    for chunk in chunks(config, frames):
        attended = attended_frames(config, chunk[-1] + 1)
        positions = positions_of(config, attended)
        groups.append(QueryGroup(chunk, attended, [positions[f] for f in chunk], list(positions.values())))
    return groups


def teacher_forcing_plan(config: ModelConfig, frames: int) -> list[QueryGroup]:
    """Slots 0..F-1 are clean, F..2F-1 noisy. The clean half is chunk-causal; a noisy chunk sees its own noisy frames
    and the clean version of every earlier attended frame."""
    groups = chunk_causal_plan(config, frames)
    for clean in list(groups):
        own = set(clean.queries)
        attended = clean.keys
        keys = [f + frames if f in own else f for f in attended]
        queries = [f + frames for f in clean.queries]
        groups.append(QueryGroup(queries, keys, clean.query_positions, clean.key_positions))
    return groups


def boolean_mask(plan: list[QueryGroup], slots: int) -> torch.Tensor:
    """The plan as a [slots, slots] mask, true where the row's slot attends the column's."""
    mask = torch.zeros(slots, slots, dtype=torch.bool)
    for group in plan:
        for query in group.queries:
            mask[query, group.keys] = True
    return mask
