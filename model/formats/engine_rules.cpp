#include "model/formats/engine_rules.h"

#include <algorithm>

#include "model/io/format.h"

namespace vmla::model {
namespace {

/// How an engine places the keys of its cache once frames are evicted.
enum class Positions {
  kRank,          // by rank among the attended frames, as we do
  kRankWithSink,  // the same where there is a window and a sink; else as kAbsolute
  kAbsolute,      // by the frame's number in the video: keys are cached rotated
  kWholeClip,     // nothing is ever evicted
  kAllAtOnce,     // no cache: every frame attends to all of them
};

struct EngineRule {
  std::string_view engine;
  std::vector<std::string_view> formats;  // that it opens
  // Its names of the three settings; empty: it has none.
  std::string_view window = {}, sink = {}, chunk = {};
  bool window_has_sink = true;  // whether its window counts the sink's frames, as ours does
  Positions positions;
  // Latent frames it can do without a window; 0: no limit but ours.
  int64_t most_frames_unlimited = 0;
  int64_t most_chunk_frames = 0;  // 0: any
  bool few_step_only =
      false;  // it re-noises between the steps of a list, and knows no other sampler
};

const std::vector<EngineRule>& engine_rules() {
  using enum Positions;
  static const std::vector<EngineRule> rules = {
      {.engine = "FastVideo",
       .formats = {"diffusers_causal"},
       .window = "local_attn_size",
       .sink = "sink_size",
       .chunk = "num_frames_per_block",
       .positions = kRankWithSink,
       .most_frames_unlimited = 21,
       .most_chunk_frames = 3},
      {.engine = "SGLang",
       .formats = {"diffusers_causal"},
       .window = "sliding_window_num_frames",
       .sink = "sink_size",
       .chunk = "num_frames_per_block",
       .positions = kAbsolute},
      {.engine = "Self-Forcing, Causal-Forcing, LongLive",
       .formats = {"pt"},
       .window = "local_attn_size",
       .sink = "sink_size",
       .chunk = "num_frame_per_block",
       .positions = kAbsolute},
      {.engine = "LightX2V",
       .formats = {"pt", "lightx2v"},
       .window = "local_attn_size",
       .sink = "sink_size",
       .chunk = "num_frame_per_chunk",
       .positions = kAbsolute,
       .few_step_only = true},
      {.engine = "Scope",
       .formats = {"pt", "wan_single"},
       .window = "local_attn_size",
       .sink = "sink_size",
       .chunk = "num_frame_per_block",
       .positions = kAbsolute},
      {.engine = "FlashDreams",
       .formats = {"pt", "wan_single"},
       .window = "window_size_t",
       .sink = "sink_size_t",
       .chunk = "len_t",
       .window_has_sink = false,
       .positions = kRank},
      {.engine = "ComfyUI",
       .formats = {"wan_single"},
       .chunk = "num_frame_per_block",
       .positions = kWholeClip},
      {.engine = "diffusers",
       .formats = {"diffusers", "wan", "wan_single"},
       .positions = kAllAtOnce},
      {.engine = "stable-diffusion.cpp", .formats = {"wan_single"}, .positions = kAllAtOnce},
      {.engine = "modeling_videomla",
       .formats = {"videomla"},
       .window = "local_attn_size",
       .sink = "sink_size",
       .chunk = "num_frame_per_block",
       .positions = kRank},
  };
  return rules;
}

struct Reach {
  std::optional<int64_t> frames;
  std::string why;
};

/// As many latent frames as the window has, or any number where nothing is evicted.
Reach until_eviction(const EngineRule& rule, const ModelConfig& config, std::string_view then) {
  if (config.local_attn_size > 0) {
    return {config.local_attn_size,
            formatted("the window of {} frames is full then; {}", config.local_attn_size, then)};
  }
  const int64_t most = rule.most_frames_unlimited > 0 ? rule.most_frames_unlimited : kMaxPositions;
  return {most, "without a window nothing is evicted; this is as far as its positions go"};
}

Reach reach_of(const EngineRule& rule, const ModelConfig& config, const SamplingFacts& sampling) {
  const bool causal = sampling.causal;
  const bool at_once = rule.positions == Positions::kAllAtOnce;
  if (!causal) {
    if (at_once || rule.positions == Positions::kRank)
      return {kMaxPositions, "the model sees all frames at once, and so does this program"};
    return {0, "the model was trained to see all frames at once, this engine goes chunk by chunk"};
  }
  if (at_once) return {0, "it attends to all frames at once; the model was trained chunk by chunk"};
  if (rule.most_chunk_frames > 0 && config.num_frame_per_block > rule.most_chunk_frames) {
    return {0,
            formatted("its chunks have at most {} frames, the model's have {}",
                      rule.most_chunk_frames,
                      config.num_frame_per_block)};
  }
  const bool ours = rule.engine == "modeling_videomla";
  if (config.independent_first_frame && !ours)
    return {0, "the model's first frame is a chunk of its own, which this engine is not told"};
  if (!sampling.first_chunk_denoising_step_list.empty() && !ours)
    return {0, "the first chunk has denoising steps of its own, which this engine is not told"};
  if (rule.few_step_only && sampling.sampler != "few_step")
    return {0, "it samples few-step students alone, the model was trained for a many-step sampler"};
  const bool window = config.local_attn_size > 0;
  const bool absolute = config.has_absolute_positions();
  switch (rule.positions) {
    case Positions::kRank:
      if (window && absolute && ours)
        return {kMaxPositions, "keys are rotated by their number in the video"};
      if (window && absolute) {
        return until_eviction(
            rule,
            config,
            "after it keys move up in the window, ours keep their number in the video");
      }
      if (window) return {std::nullopt, "keys are rotated by their rank in the window"};
      return until_eviction(rule, config, "");
    case Positions::kRankWithSink:
      if (window && config.sink_size > 0 && !absolute)
        return {std::nullopt, "rope_cache_policy relativistic rotates keys by their rank"};
      [[fallthrough]];
    case Positions::kAbsolute:
      if (window && absolute) {
        return {kMaxPositions,
                "keys keep their number in the video, as ours do; this is as far as positions go"};
      }
      if (window && config.sink_size == 0) {
        return {kMaxPositions,
                "without a sink absolute positions differ from ours by the same number for queries "
                "and keys, and attention sees differences alone; this is as far as they go"};
      }
      return until_eviction(
          rule, config, "after it keys keep the position in the video, ours move up in the window");
    case Positions::kWholeClip:
    case Positions::kAllAtOnce:
      break;
  }
  return until_eviction(
      rule, config, "it keeps the whole clip, and goes on attending to all of it");
}

}  // namespace

std::vector<EngineNote> engine_notes(std::string_view format,
                                     const ModelConfig& config,
                                     const SamplingFacts& sampling) {
  std::vector<EngineNote> notes;
  for (const EngineRule& rule : engine_rules()) {
    if (std::ranges::find(rule.formats, format) == rule.formats.end()) continue;
    // No engine has a class for latent attention; its own code stands beside a videomla export.
    if (config.is_mla() && format != "videomla") continue;
    EngineNote note;
    note.engine = rule.engine;
    const int64_t size = config.local_attn_size, sink = config.sink_size;
    if (sampling.causal) {
      const auto add = [&](std::string_view name, int64_t value) {
        if (!name.empty()) note.fields.emplace_back(name, value);
      };
      add(rule.window, size > 0 && !rule.window_has_sink ? size - sink : size);
      add(rule.sink, sink);
      add(rule.chunk, config.num_frame_per_block);
    }
    const Reach reach = reach_of(rule, config, sampling);
    note.exact_frames = reach.frames;
    note.why = reach.why;
    notes.push_back(std::move(note));
  }
  return notes;
}

}  // namespace vmla::model
