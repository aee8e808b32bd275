#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "model/formats/safetensors.h"

/// Which tensors of a transformer hold the weights of its keys and values, whoever wrote the file
/// (docs/formats.md "Name maps").
namespace vmla::analysis {

/// Names of tensors; "{layer}" stands for a layer's number. Either `k` and `v`, or `fused`.
struct KvNames {
  std::string k = "blocks.{layer}.self_attn.k.weight";
  std::string v = "blocks.{layer}.self_attn.v.weight";
  /// One matrix whose rows are [W_K; W_V], or [W_Q; W_K; W_V] with `has_query`.
  std::string fused = {};
  bool has_query = false;
  /// Rows of W_Q in `fused`; 0: as many as it has columns.
  int64_t query_rows = 0;
  /// The file holds [inputs, outputs] instead of [outputs, inputs].
  bool transposed = false;
};

/// Reads a name map: yaml with the keys k and v (or our own two names in full), or kv, or qkv, each
/// a name of the file with "{layer}"; and query_rows, transposed. UserError names the file, the key
/// and what is valid.
KvNames read_kv_names(const std::filesystem::path& yaml);

/// The names of a file whose writer is known: what Wan, diffusers, Hugging Face's BERT, Llama, T5,
/// GPT-2 and models with their names call keys and values, with whatever stands in front. UserError
/// that lists what is there where none of them fits, or several do.
KvNames recognise_kv_names(const model::TensorMap& tensors, const std::string& source);

/// W_K and W_V of one layer, [rows, D] each. Rows are output channels; with grouped heads fewer
/// than D.
struct KvWeights {
  int64_t layer = 0;
  at::Tensor k, v;
};

/// Every layer that `tensors` has under `names`, by number: numbers may begin anywhere and leave
/// gaps (layers of another kind). Views of the tensors. UserError, with `source` in front, that
/// lists what is there if nothing matches, keys or values that have no partner, and tensors whose
/// sizes do not fit, or that hold NaN or infinity.
std::vector<KvWeights> kv_weights(const model::TensorMap& tensors,
                                  const KvNames& names,
                                  const std::string& source);

/// True for a name of Wan's own layout or diffusers' of it, with whatever stands in front.
bool has_wan_names(const model::TensorMap& tensors);

}  // namespace vmla::analysis
