#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

/// Sizes of a network. No LibTorch header here: `vmla` validates configurations before it starts
/// `vmla-core`, which links LibTorch.
namespace vmla::model {

/// Latent frames that RoPE positions reach (Wan2.1's table, docs/algorithms.md 2.8).
constexpr int64_t kMaxPositions = 1024;

/// One value for all layers, or one a layer. In yaml: a scalar or a list.
struct PerLayer {
  std::vector<int64_t> values;  // one entry (shared) or num_layers entries
  int64_t at(int64_t layer) const {
    return values.size() == 1 ? values[0] : values.at(static_cast<size_t>(layer));
  }
  bool operator==(const PerLayer&) const = default;
};

/// Rope pair indices: one list shared by all layers, one list per layer, or empty for the count
/// rule (highest-frequency pairs of each axis, docs/algorithms.md 4.4). In yaml: a list, or a list
/// of lists.
struct RopePairs {
  std::vector<std::vector<int64_t>> lists;
  bool operator==(const RopePairs&) const = default;
};

/// One Wan2.1-shaped video transformer, dense or MLA (docs/algorithms.md 2.1 and 4.5). Defaults are
/// Wan2.1-T2V-1.3B with VideoMLA's ranks and head sizes. fields() says what each key means.
struct ModelConfig {
  /// wan1.3b, wan14b or tiny: sizes to start from; keys given beside it override them.
  std::string preset;
  std::string attention = "dense";  // dense | mla
  int64_t dim = 1536;
  int64_t ffn_dim = 8960;
  int64_t num_heads = 12;
  int64_t num_layers = 30;
  int64_t in_dim = 16;
  int64_t out_dim = 16;
  int64_t freq_dim = 256;
  int64_t text_dim = 4096;
  int64_t text_len = 512;
  std::array<int64_t, 3> patch_size = {1, 2, 2};
  double eps = 1e-6;

  PerLayer kv_lora_rank = {{192}};
  int64_t q_lora_rank = 768;
  int64_t qk_nope_head_dim = 96;
  int64_t qk_rope_head_dim = 32;
  int64_t v_head_dim = 128;
  RopePairs rope_pair_indices;
  double latent_norm_eps = 1e-6;
  bool bias = true;

  int64_t num_frame_per_block = 3;
  int64_t local_attn_size = -1;
  int64_t sink_size = 0;
  bool independent_first_frame = false;
  std::string rope_cache_policy = "relativistic";  // relativistic | absolute

  int64_t head_dim() const { return dim / num_heads; }
  bool is_mla() const { return attention == "mla"; }
  bool has_absolute_positions() const { return rope_cache_policy == "absolute"; }
  bool operator==(const ModelConfig&) const = default;

  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("preset",
      c.preset,
      "sizes to start from: wan1.3b, wan14b or tiny; keys given beside it win; empty: the defaults "
      "below, which are wan1.3b");
    v("attention",
      c.attention,
      "self-attention: dense (keys and values for each head) or mla (multi-head latent attention)");
    v("dim", c.dim, "model width D, in channels");
    v("ffn_dim", c.ffn_dim, "inner width of the feed-forward network, in channels");
    v("num_heads",
      c.num_heads,
      "attention heads; dim / num_heads is the width of a dense head and must be even");
    v("num_layers", c.num_layers, "transformer blocks");
    v("in_dim", c.in_dim, "latent channels in: those of the codec");
    v("out_dim", c.out_dim, "latent channels out: the same as in_dim");
    v("freq_dim", c.freq_dim, "width of the sinusoidal embedding of the timestep; even");
    v("text_dim", c.text_dim, "width of the text embeddings: that of the text encoder");
    v("text_len", c.text_len, "rows of text after zero padding; longer text is an error");
    v("patch_size",
      c.patch_size,
      "latent frames, rows and columns of one token; the first must be 1");
    v("eps", c.eps, "epsilon of every norm but the latent ones; above 0");
    v("kv_lora_rank",
      c.kv_lora_rank,
      "rank of the shared K/V latent, the numbers cached per token and layer besides the rotary "
      "key; 1 to dim; one integer, or a list with one per layer (mla only)");
    v("q_lora_rank", c.q_lora_rank, "rank of the query latent; 1 to dim (mla only)");
    v("qk_nope_head_dim",
      c.qk_nope_head_dim,
      "channels of a query or key head without position (mla only)");
    v("qk_rope_head_dim",
      c.qk_rope_head_dim,
      "rotary channels of a query head, and of the one rotary key that all heads share; even, at "
      "most dim / num_heads (mla only)");
    v("v_head_dim", c.v_head_dim, "channels of a value head (mla only)");
    v("rope_pair_indices",
      c.rope_pair_indices,
      "which rotary pairs of a dense head the rotary channels take over: qk_rope_head_dim / 2 "
      "indices from 0, or a list of such lists with one per layer; empty: the highest frequencies "
      "of each axis (mla only)");
    v("latent_norm_eps",
      c.latent_norm_eps,
      "epsilon of the two norms of the latents; above 0 (mla only)");
    v("bias", c.bias, "whether q_b_proj and kv_a_proj_with_mqa have biases (mla only)");
    v("num_frame_per_block",
      c.num_frame_per_block,
      "latent frames of a chunk; a clip must be whole chunks");
    v("local_attn_size",
      c.local_attn_size,
      "latent frames that a chunk attends to, sink and itself included: at least sink_size + "
      "num_frame_per_block; -1: all before it");
    v("sink_size",
      c.sink_size,
      "latent frames at the start of a video that stay in the window; 0 or more");
    v("independent_first_frame",
      c.independent_first_frame,
      "true: the first latent frame is a chunk of its own");
    v("rope_cache_policy",
      c.rope_cache_policy,
      "a frame's position in time: relativistic (its rank among the attended frames, so that a "
      "video may have any length) or absolute (its number in the video)");
  }
};

/// Sizes of one layer, in the letters of the legend (model/network/wan_dit.h).
struct LayerDims {
  int64_t dim, ffn_dim, num_heads, head_dim;
  int64_t kv_rank, q_rank, nope, rope, v_head;
  bool bias;
};
LayerDims layer_dims(const ModelConfig& config, int64_t layer);

/// Rope pairs of `layer`: the given ones, or the count rule. Indices into the dense head's
/// head_dim/2 pairs.
std::vector<int64_t> rope_pairs(const ModelConfig& config, int64_t layer);

/// Pairs of a dense head by axis: time, height, width (Wan: 22/21/21 of 64).
std::array<int64_t, 3> dense_axis_pairs(int64_t head_dim);

/// The sizes of a preset; keys that the user gives are set afterwards. ConfigRuleError on an
/// unknown name.
ModelConfig model_preset(const std::string& name);

/// Upper limits of all sizes: those of a file may ask for lists and tensors that no machine has.
/// ConfigRuleError with `prefix` in front of the key.
void validate_limits(const ModelConfig& config, const std::string& prefix);

/// Checks each field and the rules between them. ConfigRuleError names the key under `prefix`
/// ("model"; empty: the bare key), the value and the remedy.
void validate_model(const ModelConfig& config, const std::string& prefix);

/// Lengths of the chunks of a clip of `num_frames` latent frames, in order. ConfigRuleError if
/// whole chunks do not fill the clip.
std::vector<int64_t> chunk_sizes(const ModelConfig& config, int64_t num_frames);

}  // namespace vmla::model
