#include "model/text/umt5_names.h"

#include <algorithm>
#include <utility>

namespace vmla::model {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;  // Wan's, transformers'

constexpr Pair kOutside[] = {{"token_embedding.weight", "shared.weight"},
                             {"token_embedding.weight", "encoder.embed_tokens.weight"},
                             {"norm.weight", "encoder.final_layer_norm.weight"}};

constexpr Pair kInBlock[] = {
    {"norm1.weight", "layer.0.layer_norm.weight"},
    {"attn.q.weight", "layer.0.SelfAttention.q.weight"},
    {"attn.k.weight", "layer.0.SelfAttention.k.weight"},
    {"attn.v.weight", "layer.0.SelfAttention.v.weight"},
    {"attn.o.weight", "layer.0.SelfAttention.o.weight"},
    {"pos_embedding.embedding.weight", "layer.0.SelfAttention.relative_attention_bias.weight"},
    {"norm2.weight", "layer.1.layer_norm.weight"},
    {"ffn.gate.0.weight", "layer.1.DenseReluDense.wi_0.weight"},
    {"ffn.fc1.weight", "layer.1.DenseReluDense.wi_1.weight"},
    {"ffn.fc2.weight", "layer.1.DenseReluDense.wo.weight"}};

/// Splits "PREFIX12.rest" into "12" and "rest"; false where the name has another form.
bool split_block(std::string_view name,
                 std::string_view prefix,
                 std::string_view& number,
                 std::string_view& rest) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos || dot == 0 || dot > 4) return false;
  number = name.substr(0, dot);
  rest = name.substr(dot + 1);
  const bool canonical = number == "0" || number[0] != '0';
  return canonical && std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::optional<std::string> wan_name_of_umt5(std::string_view name) {
  for (const auto& [wan, other] : kOutside) {
    if (name == wan || name == other) return std::string(wan);
  }
  std::string_view number, rest;
  if (split_block(name, "blocks.", number, rest)) {
    const bool known =
        std::ranges::any_of(kInBlock, [&](const Pair& p) { return p.first == rest; });
    return known ? std::optional(std::string(name)) : std::nullopt;
  }
  if (!split_block(name, "encoder.block.", number, rest)) return std::nullopt;
  const auto* const found =
      std::ranges::find_if(kInBlock, [&](const Pair& p) { return p.second == rest; });
  if (found == std::end(kInBlock)) return std::nullopt;
  return "blocks." + std::string(number) + "." + std::string(found->first);
}

bool is_umt5_decoder_name(std::string_view name) {
  return name.starts_with("decoder.") || name == "lm_head.weight";
}

}  // namespace vmla::model
