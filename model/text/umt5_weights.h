#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/formats/safetensors.h"

/// The weights of UMT5's encoder (docs/algorithms.md 18.1) as plain structs of tensors. Each
/// struct's fields() calls a visitor with (name, tensor, shape) under the names of Wan's file
/// models_t5_umt5-xxl-enc-bf16.pth.
namespace vmla::model {

/// Sizes of a UMT5 encoder: V rows of the vocabulary, D width, A attention width (heads times head
/// size), N heads, ffn inner width.
struct Umt5Config {
  int64_t vocabulary = 0;     // V
  int64_t dim = 0;            // D
  int64_t attention_dim = 0;  // A
  int64_t num_heads = 0;      // N
  int64_t ffn_dim = 0;
  int64_t num_layers = 0;
  int64_t buckets = 32;        // of relative positions
  int64_t max_distance = 128;  // from which on all distances share a bucket
  double eps = 1e-6;           // of the norms
};

struct Umt5BlockWeights {
  at::Tensor norm1;                               // [D]
  at::Tensor q_weight, k_weight, v_weight;        // [A, D]
  at::Tensor o_weight;                            // [D, A]
  at::Tensor position_table;                      // [buckets, N]
  at::Tensor norm2;                               // [D]
  at::Tensor gate_weight, in_weight, out_weight;  // [ffn, D], [ffn, D], [D, ffn]

  template <class Self, class V>
  static void fields(Self& w, const Umt5Config& c, V&& v) {
    using Shape = std::vector<int64_t>;
    v("norm1.weight", w.norm1, Shape{c.dim});
    v("attn.q.weight", w.q_weight, Shape{c.attention_dim, c.dim});
    v("attn.k.weight", w.k_weight, Shape{c.attention_dim, c.dim});
    v("attn.v.weight", w.v_weight, Shape{c.attention_dim, c.dim});
    v("attn.o.weight", w.o_weight, Shape{c.dim, c.attention_dim});
    v("pos_embedding.embedding.weight", w.position_table, Shape{c.buckets, c.num_heads});
    v("norm2.weight", w.norm2, Shape{c.dim});
    v("ffn.gate.0.weight", w.gate_weight, Shape{c.ffn_dim, c.dim});
    v("ffn.fc1.weight", w.in_weight, Shape{c.ffn_dim, c.dim});
    v("ffn.fc2.weight", w.out_weight, Shape{c.dim, c.ffn_dim});
  }
};

struct Umt5Weights {
  Umt5Config config;
  at::Tensor token_embedding;  // [V, D]
  std::vector<Umt5BlockWeights> blocks;
  at::Tensor norm;  // [D]

  template <class Self, class V>
  static void fields(Self& w, V&& v) {
    const Umt5Config& c = w.config;
    using Shape = std::vector<int64_t>;
    v("token_embedding.weight", w.token_embedding, Shape{c.vocabulary, c.dim});
    for (size_t i = 0; i < w.blocks.size(); ++i) {
      const std::string prefix = "blocks." + std::to_string(i) + ".";
      Umt5BlockWeights::fields(w.blocks[i], c, [&](const char* name, auto& tensor, Shape shape) {
        v(prefix + name, tensor, std::move(shape));
      });
    }
    v("norm.weight", w.norm, Shape{c.dim});
  }
};

/// An encoder's weights as they lie in their file: mapped, of the file's dtype.
struct LoadedUmt5 {
  Umt5Weights weights;
  std::string source;  // for messages
};

/// Reads the encoder from Wan's file, transformers' UMT5EncoderModel (a file, or a folder with
/// config.json), or the folder of a diffusers pipeline, under either layout's names. Sizes come
/// from the tensors; what config.json says must agree with them. UserError lists tensors that are
/// missing, of another shape, of no floating-point type or not part of an encoder, or names one
/// that holds NaN or infinity: all of them are read once, where they are mapped.
LoadedUmt5 read_umt5(const std::filesystem::path& path);

/// The encoder's weights among `tensors`, named in either layout, with `config` for what tensors do
/// not tell.
Umt5Weights umt5_weights(const TensorMap& tensors, Umt5Config config, const std::string& source);

/// SHA-256 (hex) over names, shapes and 12 KiB of each tensor, as numbers: the same for the same
/// weights under both layouts' names, and for bf16 weights stored as fp32. Reading all of 11 GB
/// would take as long as encoding hundreds of prompts.
std::string umt5_hash(const Umt5Weights& weights);

}  // namespace vmla::model
