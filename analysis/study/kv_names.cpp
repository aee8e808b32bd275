#include "analysis/study/kv_names.h"

#include <ATen/ATen.h>

#include <span>

#include "analysis/study/tensor_names.h"
#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::analysis {
namespace {

/// What one family of programs calls its keys and values.
struct Family {
  const char* name;
  KvNames names;
};

KvNames separate(const char* k, const char* v) {
  return {.k = k, .v = v};
}

KvNames fused_with_query(const char* name, bool transposed = false) {
  return {.k = "", .v = "", .fused = name, .has_query = true, .transposed = transposed};
}

/// The first kWanFamilies are Wan's transformer, which `vmla` itself loads.
constexpr size_t kWanFamilies = 2;
std::vector<Family> families() {
  return {
      {"Wan", {}},
      {"diffusers",
       separate("blocks.{layer}.attn1.to_k.weight", "blocks.{layer}.attn1.to_v.weight")},
      {"diffusers",
       separate("transformer_blocks.{layer}.attn1.to_k.weight",
                "transformer_blocks.{layer}.attn1.to_v.weight")},
      {"diffusers",
       separate("transformer_blocks.{layer}.attn.to_k.weight",
                "transformer_blocks.{layer}.attn.to_v.weight")},
      {"BERT",
       separate("encoder.layer.{layer}.attention.self.key.weight",
                "encoder.layer.{layer}.attention.self.value.weight")},
      {"ViT",
       separate("encoder.layer.{layer}.attention.attention.key.weight",
                "encoder.layer.{layer}.attention.attention.value.weight")},
      {"DistilBERT",
       separate("transformer.layer.{layer}.attention.k_lin.weight",
                "transformer.layer.{layer}.attention.v_lin.weight")},
      {"Llama",
       separate("layers.{layer}.self_attn.k_proj.weight",
                "layers.{layer}.self_attn.v_proj.weight")},
      {"Phi-3", fused_with_query("layers.{layer}.self_attn.qkv_proj.weight")},
      {"T5",
       separate("encoder.block.{layer}.layer.0.SelfAttention.k.weight",
                "encoder.block.{layer}.layer.0.SelfAttention.v.weight")},
      {"UMT5 of Wan", separate("blocks.{layer}.attn.k.weight", "blocks.{layer}.attn.v.weight")},
      {"GPT-2", fused_with_query("h.{layer}.attn.c_attn.weight", true)},
      {"timm", fused_with_query("blocks.{layer}.attn.qkv.weight")},
      {"torch.nn.TransformerEncoder", fused_with_query("layers.{layer}.self_attn.in_proj_weight")},
  };
}

const std::string& first_pattern(const KvNames& names) {
  return names.fused.empty() ? names.k : names.fused;
}

/// One family's names in a file, behind one prefix.
struct Recognised {
  const char* family;
  std::string prefix;
  KvNames names;
};

std::vector<Recognised> recognised(const model::TensorMap& tensors, std::span<const Family> known) {
  std::vector<Recognised> found;
  for (const Family& family : known) {
    for (const std::string& prefix : prefixes_before(tensors, first_pattern(family.names))) {
      Recognised one{family.name, prefix, family.names};
      for (std::string* name : {&one.names.k, &one.names.v, &one.names.fused}) {
        if (!name->empty()) name->insert(0, prefix);
      }
      found.push_back(std::move(one));
    }
  }
  return found;
}

[[noreturn]] void fail_without_match(const model::TensorMap& tensors,
                                     const std::string& wanted,
                                     const std::string& source) {
  for (const auto& [name, tensor] : tensors) {
    if (name.find("kv_b_proj.weight") != std::string::npos) {
      fail_user(
          "{}: has latent attention ({}); this command needs a dense model: use `vmla analyze "
          "rank`",
          source,
          io::quoted_name(name));
    }
  }
  fail_user("{}: has no tensor {}; matrices there: {}; name the keys' and values' with --map FILE",
            source,
            wanted,
            listed_patterns(tensors));
}

/// Splits fused rows; UserError where they do not divide.
KvWeights split_rows(int64_t layer,
                     const at::Tensor& rows_RD,
                     const KvNames& names,
                     const std::string& where) {
  const int64_t query =
      !names.has_query ? 0 : (names.query_rows > 0 ? names.query_rows : rows_RD.size(1));
  const int64_t rest = rows_RD.size(0) - query;
  if (rest <= 0 || rest % 2 != 0) {
    fail_user(
        "{}: has {} rows; expected {} of queries and as many of keys as of values (query_rows "
        "of the name map sets the queries')",
        where,
        rows_RD.size(0),
        query);
  }
  return {.layer = layer,
          .k = rows_RD.narrow(0, query, rest / 2),
          .v = rows_RD.narrow(0, query + rest / 2, rest / 2)};
}

}  // namespace

bool has_wan_names(const model::TensorMap& tensors) {
  const std::vector<Family> known = families();
  return !recognised(tensors, std::span(known).first(kWanFamilies)).empty();
}

KvNames recognise_kv_names(const model::TensorMap& tensors, const std::string& source) {
  const std::vector<Recognised> found = recognised(tensors, families());
  if (found.empty()) {
    fail_without_match(tensors, "whose name this program knows as a key weight", source);
  }
  if (found.size() > 1) {
    std::string list;
    for (const Recognised& one : found) {
      list += formatted("{}{} ({})",
                        list.empty() ? "" : ", ",
                        io::quoted_name(first_pattern(one.names)),
                        one.family);
    }
    fail_user(
        "{}: holds keys under several names: {}; say with --map FILE which to take", source, list);
  }
  return found.front().names;
}

std::vector<KvWeights> kv_weights(const model::TensorMap& tensors,
                                  const KvNames& names,
                                  const std::string& source) {
  std::vector<KvWeights> layers;
  if (!names.fused.empty()) {
    for (const auto& [layer, name] : layers_of(tensors, names.fused)) {
      const at::Tensor rows = checked_matrix(tensors, name, names.transposed, source);
      layers.push_back(split_rows(layer, rows, names, source + ": " + io::quoted_name(name)));
    }
    if (layers.empty()) fail_without_match(tensors, io::quoted_name(names.fused), source);
    return layers;
  }
  const auto k_names = layers_of(tensors, names.k), v_names = layers_of(tensors, names.v);
  if (k_names.empty() && v_names.empty()) {
    fail_without_match(
        tensors, io::quoted_name(names.k) + " or " + io::quoted_name(names.v), source);
  }
  check_pairs(k_names, v_names, names.k, names.v, source);
  for (const auto& [layer, name] : k_names) {
    const std::string& v_name = v_names.at(layer);
    KvWeights one{.layer = layer,
                  .k = checked_matrix(tensors, name, names.transposed, source),
                  .v = checked_matrix(tensors, v_name, names.transposed, source)};
    if (one.v.size(1) != one.k.size(1)) {
      fail_user(
          "{}: the tensor {} has sizes {}; expected a matrix with {} inputs, as its layer's "
          "keys",
          source,
          io::quoted_name(v_name),
          tensors.at(v_name).sizes(),
          one.k.size(1));
    }
    layers.push_back(std::move(one));
  }
  return layers;
}

}  // namespace vmla::analysis
