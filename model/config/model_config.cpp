#include "model/config/model_config.h"

#include <algorithm>

#include "model/config/config_rule.h"

namespace vmla::model {
namespace {

// The pairs of one axis group of `count` pairs: Wan gives height and width a third each, rounded
// down, and time the rest (docs/algorithms.md 2.8 and 4.4). The count rule for rope pairs splits
// the same way.
std::array<int64_t, 3> split_by_axis(int64_t count) {
  const int64_t third = count / 3;
  return {count - 2 * third, third, third};
}

std::vector<int64_t> highest_frequency_pairs(int64_t head_dim, int64_t count) {
  const auto available = dense_axis_pairs(head_dim);
  const auto wanted = split_by_axis(count);
  std::vector<int64_t> pairs;
  int64_t first = 0;
  for (size_t axis = 0; axis < 3; ++axis) {
    for (int64_t i = 0; i < wanted[axis]; ++i) pairs.push_back(first + i);
    first += available[axis];
  }
  return pairs;
}

void require_at_least(const std::string& key, int64_t value, int64_t least) {
  if (value < least) fail_rule(key, "{} is too small; use at least {}", value, least);
}

void validate_sizes(const ModelConfig& c, const std::string& p) {
  validate_limits(c, p);
  require_at_least(p + "dim", c.dim, 1);
  require_at_least(p + "ffn_dim", c.ffn_dim, 1);
  require_at_least(p + "num_heads", c.num_heads, 1);
  require_at_least(p + "num_layers", c.num_layers, 1);
  require_at_least(p + "in_dim", c.in_dim, 1);
  require_at_least(p + "out_dim", c.out_dim, 1);
  require_at_least(p + "text_dim", c.text_dim, 1);
  require_at_least(p + "text_len", c.text_len, 1);
  require_at_least(p + "freq_dim", c.freq_dim, 2);
  if (c.freq_dim % 2 != 0) {
    fail_rule(p + "freq_dim",
              "{} is odd; half of it are cosines, half sines: use an even width",
              c.freq_dim);
  }
  if (c.dim % c.num_heads != 0) {
    fail_rule(p + "num_heads", "{} does not divide {}dim ({})", c.num_heads, p, c.dim);
  }
  if (c.head_dim() % 2 != 0) {
    fail_rule(p + "num_heads",
              "{} gives heads of {} channels ({}dim / num_heads); rotary pairs need an even number",
              c.num_heads,
              c.head_dim(),
              p);
  }
  for (size_t axis = 0; axis < 3; ++axis) {
    require_at_least(p + "patch_size", c.patch_size[axis], 1);
  }
  if (c.patch_size[0] != 1) {
    fail_rule(
        p + "patch_size",
        "a token spans {} frames; every frame has its own timestep, so the first entry must be 1",
        c.patch_size[0]);
  }
  if (!(c.eps > 0)) fail_rule(p + "eps", "{:g} is not positive; Wan uses 1e-6", c.eps);
  if (!(c.latent_norm_eps > 0)) {
    fail_rule(p + "latent_norm_eps", "{:g} is not positive; use 1e-6", c.latent_norm_eps);
  }
}

void validate_window(const ModelConfig& c, const std::string& p) {
  require_at_least(p + "num_frame_per_block", c.num_frame_per_block, 1);
  require_at_least(p + "sink_size", c.sink_size, 0);
  if (c.rope_cache_policy != "relativistic" && !c.has_absolute_positions()) {
    fail_rule(p + "rope_cache_policy",
              "'{}' is unknown; use relativistic or absolute",
              c.rope_cache_policy);
  }
  if (c.local_attn_size == -1) return;
  if (c.local_attn_size < 1) {
    fail_rule(p + "local_attn_size",
              "{} is no window; use -1 for all frames, or a number of frames, sink and own chunk "
              "included",
              c.local_attn_size);
  }
  if (c.local_attn_size - c.sink_size < c.num_frame_per_block) {
    fail_rule(p + "local_attn_size",
              "{} counts every attended frame: less {}sink_size ({}) it leaves {} for a chunk of "
              "{}num_frame_per_block ({}); use at least {}, or -1 for all frames",
              c.local_attn_size,
              p,
              c.sink_size,
              c.local_attn_size - c.sink_size,
              p,
              c.num_frame_per_block,
              c.sink_size + c.num_frame_per_block);
  }
}

void validate_rope_pairs(const ModelConfig& c, const std::string& p) {
  const std::string key = p + "rope_pair_indices";
  const auto& lists = c.rope_pair_indices.lists;
  const int64_t wanted = c.qk_rope_head_dim / 2;
  const int64_t available = c.head_dim() / 2;
  if (lists.empty()) {
    // The count rule takes from each axis group; a group can run out before the head does.
    const auto have = dense_axis_pairs(c.head_dim());
    const auto take = split_by_axis(wanted);
    for (size_t axis = 0; axis < 3; ++axis) {
      if (take[axis] <= have[axis]) continue;
      fail_rule(p + "qk_rope_head_dim",
                "{} takes {} pairs of an axis that has {}; name the pairs in {} or use a smaller "
                "rope dim",
                c.qk_rope_head_dim,
                take[axis],
                have[axis],
                key);
    }
    return;
  }
  if (lists.size() != 1 && lists.size() != static_cast<size_t>(c.num_layers)) {
    fail_rule(
        key, "{} lists for {} layers; give one list, or one per layer", lists.size(), c.num_layers);
  }
  for (const auto& list : lists) {
    if (static_cast<int64_t>(list.size()) != wanted) {
      fail_rule(key,
                "{} pairs, but {}qk_rope_head_dim ({}) holds {}",
                list.size(),
                p,
                c.qk_rope_head_dim,
                wanted);
    }
    std::vector<int64_t> sorted = list;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end())
      fail_rule(key, "pair {} appears twice; every pair at most once", *twice);
    for (const int64_t pair : {sorted.front(), sorted.back()}) {
      if (pair < 0 || pair >= available) {
        fail_rule(key,
                  "pair {} is out of range; a head of {} channels has pairs 0 to {}",
                  pair,
                  c.head_dim(),
                  available - 1);
      }
    }
  }
}

void validate_latent_attention(const ModelConfig& c, const std::string& p) {
  const auto& ranks = c.kv_lora_rank.values;
  if (ranks.size() != 1 && ranks.size() != static_cast<size_t>(c.num_layers)) {
    fail_rule(p + "kv_lora_rank",
              "{} ranks for {} layers; give one number, or one per layer",
              ranks.size(),
              c.num_layers);
  }
  for (const int64_t rank : ranks) {
    require_at_least(p + "kv_lora_rank", rank, 1);
    if (rank > c.dim) {
      fail_rule(
          p + "kv_lora_rank", "{} is above the width; use at most {}dim ({})", rank, p, c.dim);
    }
  }
  require_at_least(p + "q_lora_rank", c.q_lora_rank, 1);
  if (c.q_lora_rank > c.dim) {
    fail_rule(p + "q_lora_rank",
              "{} is above the width; use at most {}dim ({})",
              c.q_lora_rank,
              p,
              c.dim);
  }
  require_at_least(p + "qk_nope_head_dim", c.qk_nope_head_dim, 1);
  require_at_least(p + "qk_rope_head_dim", c.qk_rope_head_dim, 2);
  require_at_least(p + "v_head_dim", c.v_head_dim, 1);
  if (c.qk_rope_head_dim % 2 != 0) {
    fail_rule(p + "qk_rope_head_dim",
              "{} is odd; rotation works on pairs: use an even number",
              c.qk_rope_head_dim);
  }
  if (c.qk_rope_head_dim > c.head_dim()) {
    fail_rule(p + "qk_rope_head_dim",
              "{} is above the dense head of {} channels ({}dim / num_heads), whose pairs it "
              "chooses from",
              c.qk_rope_head_dim,
              c.head_dim(),
              p);
  }
  validate_rope_pairs(c, p);
}

}  // namespace

LayerDims layer_dims(const ModelConfig& c, int64_t layer) {
  return {.dim = c.dim,
          .ffn_dim = c.ffn_dim,
          .num_heads = c.num_heads,
          .head_dim = c.head_dim(),
          .kv_rank = c.kv_lora_rank.at(layer),
          .q_rank = c.q_lora_rank,
          .nope = c.qk_nope_head_dim,
          .rope = c.qk_rope_head_dim,
          .v_head = c.v_head_dim,
          .bias = c.bias};
}

std::array<int64_t, 3> dense_axis_pairs(int64_t head_dim) {
  return split_by_axis(head_dim / 2);
}

std::vector<int64_t> rope_pairs(const ModelConfig& c, int64_t layer) {
  const auto& lists = c.rope_pair_indices.lists;
  if (lists.empty()) return highest_frequency_pairs(c.head_dim(), c.qk_rope_head_dim / 2);
  return lists.size() == 1 ? lists[0] : lists.at(static_cast<size_t>(layer));
}

ModelConfig model_preset(const std::string& name) {
  ModelConfig c;
  c.preset = name;
  if (name == "wan1.3b") return c;  // the defaults of the struct
  if (name == "wan14b") {
    c.dim = 5120;
    c.ffn_dim = 13824;
    c.num_heads = 40;
    c.num_layers = 40;
    // No budget is published for 14B: these keep the ratios of 1.3B (dim / 8 and dim / 2).
    c.kv_lora_rank = {{640}};
    c.q_lora_rank = 2560;
    return c;
  }
  if (name == "tiny") {
    c.dim = 64;
    c.ffn_dim = 256;
    c.num_heads = 4;
    c.num_layers = 3;
    c.in_dim = 12;
    c.out_dim = 12;
    c.freq_dim = 64;
    c.text_dim = 32;
    c.text_len = 8;
    c.kv_lora_rank = {{24}};
    c.q_lora_rank = 48;
    c.qk_nope_head_dim = 10;
    c.qk_rope_head_dim = 6;
    c.v_head_dim = 16;
    return c;
  }
  fail_rule("model.preset", "'{}' is unknown; valid: wan1.3b, wan14b, tiny", name);
}

void validate_model(const ModelConfig& c, const std::string& prefix) {
  const std::string p = prefix.empty() ? "" : prefix + ".";
  if (c.attention != "dense" && c.attention != "mla") {
    fail_rule(p + "attention", "'{}' is unknown; valid: dense, mla", c.attention);
  }
  validate_sizes(c, p);
  validate_window(c, p);
  if (c.is_mla()) validate_latent_attention(c, p);
}

std::vector<int64_t> chunk_sizes(const ModelConfig& c, int64_t num_frames) {
  const int64_t block = c.num_frame_per_block;
  const int64_t first = c.independent_first_frame ? 1 : 0;
  if (num_frames < 1 || num_frames < first || (num_frames - first) % block != 0) {
    if (first == 1) {
      fail_rule("model.num_frame_per_block",
                "{} does not divide a clip of {} latent frames after its first frame; use 1 + a "
                "multiple of {} frames",
                block,
                num_frames,
                block);
    }
    fail_rule("model.num_frame_per_block",
              "{} does not divide a clip of {} latent frames; use a multiple of {} frames",
              block,
              num_frames,
              block);
  }
  std::vector<int64_t> sizes(static_cast<size_t>(first), 1);
  sizes.insert(sizes.end(), static_cast<size_t>((num_frames - first) / block), block);
  return sizes;
}

}  // namespace vmla::model
