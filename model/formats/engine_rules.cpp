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
  std::string_view window, sink, chunk;   // its names of the three settings; empty: it has none
  bool window_has_sink;  // whether its window counts the sink's frames, as ours does
  Positions positions;
  int64_t most_frames_unlimited;  // latent frames it can do without a window; 0: no limit but ours
  int64_t most_chunk_frames;      // 0: any
};

const std::vector<EngineRule>& engine_rules() {
  using enum Positions;
  static const std::vector<EngineRule> rules = {
      {"FastVideo",
       {"diffusers_causal"},
       "local_attn_size",
       "sink_size",
       "num_frames_per_block",
       true,
       kRankWithSink,
       21,
       3},
      {"SGLang",
       {"diffusers_causal"},
       "sliding_window_num_frames",
       "sink_size",
       "num_frames_per_block",
       true,
       kAbsolute,
       0,
       0},
      {"Self-Forcing, Causal-Forcing, LongLive",
       {"pt"},
       "local_attn_size",
       "sink_size",
       "num_frame_per_block",
       true,
       kAbsolute,
       0,
       0},
      {"LightX2V",
       {"pt", "lightx2v"},
       "local_attn_size",
       "sink_size",
       "num_frame_per_chunk",
       true,
       kAbsolute,
       0,
       0},
      {"Scope",
       {"pt", "wan_single"},
       "local_attn_size",
       "sink_size",
       "num_frame_per_block",
       true,
       kAbsolute,
       0,
       0},
      {"FlashDreams",
       {"pt", "wan_single"},
       "window_size_t",
       "sink_size_t",
       "len_t",
       false,
       kRank,
       0,
       0},
      {"ComfyUI", {"wan_single"}, "", "", "num_frame_per_block", true, kWholeClip, 0, 0},
      {"diffusers", {"diffusers", "wan", "wan_single"}, "", "", "", true, kAllAtOnce, 0, 0},
      {"stable-diffusion.cpp", {"wan_single"}, "", "", "", true, kAllAtOnce, 0, 0},
      {"modeling_videomla",
       {"videomla"},
       "local_attn_size",
       "sink_size",
       "num_frame_per_block",
       true,
       kRank,
       0,
       0},
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

Reach reach_of(const EngineRule& rule, const ModelConfig& config, bool causal) {
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
  const bool window = config.local_attn_size > 0;
  switch (rule.positions) {
    case Positions::kRank:
      if (window) return {std::nullopt, "keys are rotated by their rank in the window"};
      return until_eviction(rule, config, "");
    case Positions::kRankWithSink:
      if (window && config.sink_size > 0)
        return {std::nullopt, "rope_cache_policy relativistic rotates keys by their rank"};
      [[fallthrough]];
    case Positions::kAbsolute:
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
                                     bool causal) {
  std::vector<EngineNote> notes;
  for (const EngineRule& rule : engine_rules()) {
    if (std::ranges::find(rule.formats, format) == rule.formats.end()) continue;
    // No engine has a class for latent attention; its own code stands beside a videomla export.
    if (config.is_mla() && format != "videomla") continue;
    EngineNote note;
    note.engine = rule.engine;
    const int64_t size = config.local_attn_size, sink = config.sink_size;
    if (causal) {
      const auto add = [&](std::string_view name, int64_t value) {
        if (!name.empty()) note.fields.emplace_back(name, value);
      };
      add(rule.window, size > 0 && !rule.window_has_sink ? size - sink : size);
      add(rule.sink, sink);
      add(rule.chunk, config.num_frame_per_block);
    }
    const Reach reach = reach_of(rule, config, causal);
    note.exact_frames = reach.frames;
    note.why = reach.why;
    notes.push_back(std::move(note));
  }
  return notes;
}

}  // namespace vmla::model
