#include "model/formats/weight_names.h"

#include <array>
#include <cctype>

namespace vmla::model {
namespace {

struct NamePair {
  std::string_view wan, diffusers;
};

// Tensors outside the blocks; `.weight` or `.bias` follows, or nothing.
constexpr NamePair kRoot[] = {
    {"patch_embedding", "patch_embedding"},
    {"text_embedding.0", "condition_embedder.text_embedder.linear_1"},
    {"text_embedding.2", "condition_embedder.text_embedder.linear_2"},
    {"time_embedding.0", "condition_embedder.time_embedder.linear_1"},
    {"time_embedding.2", "condition_embedder.time_embedder.linear_2"},
    {"time_projection.1", "condition_embedder.time_proj"},
    {"head.head", "proj_out"},
    {"head.modulation", "scale_shift_table"},
};

// And of those inside a block. The affine norm in front of the text attention is Wan's norm3,
// diffusers' norm2.
constexpr NamePair kBlock[] = {
    {"modulation", "scale_shift_table"},
    {"self_attn.q", "attn1.to_q"},
    {"self_attn.k", "attn1.to_k"},
    {"self_attn.v", "attn1.to_v"},
    {"self_attn.o", "attn1.to_out.0"},
    {"self_attn.norm_q", "attn1.norm_q"},
    {"self_attn.norm_k", "attn1.norm_k"},
    {"norm3", "norm2"},
    {"cross_attn.q", "attn2.to_q"},
    {"cross_attn.k", "attn2.to_k"},
    {"cross_attn.v", "attn2.to_v"},
    {"cross_attn.o", "attn2.to_out.0"},
    {"cross_attn.norm_q", "attn2.norm_q"},
    {"cross_attn.norm_k", "attn2.norm_k"},
    {"ffn.0", "ffn.net.0.proj"},
    {"ffn.2", "ffn.net.2"},
};

/// Splits "blocks.12.rest" into {"blocks.12.", "rest"}; the first part is empty for other names.
std::pair<std::string_view, std::string_view> split_block(std::string_view name) {
  constexpr std::string_view kBlocks = "blocks.";
  if (!name.starts_with(kBlocks)) return {{}, name};
  size_t end = kBlocks.size();
  while (end < name.size() && std::isdigit(static_cast<unsigned char>(name[end])) != 0) ++end;
  if (end == kBlocks.size() || end == name.size() || name[end] != '.') return {{}, name};
  return {name.substr(0, end + 1), name.substr(end + 1)};
}

/// Replaces the beginning `from` of a name by `to`, in the table that fits the name.
std::optional<std::string> translate(std::string_view name,
                                     std::string_view NamePair::* from,
                                     std::string_view NamePair::* to) {
  const auto parts = split_block(name);
  const std::string_view block = parts.first, rest = parts.second;
  const auto replace = [&](const auto& table) -> std::optional<std::string> {
    for (const NamePair& pair : table) {
      if (!rest.starts_with(pair.*from)) continue;
      const std::string_view tail = rest.substr((pair.*from).size());
      if (!tail.empty() && tail != ".weight" && tail != ".bias") continue;
      return std::string(block) + std::string(pair.*to) + std::string(tail);
    }
    return std::nullopt;
  };
  return block.empty() ? replace(kRoot) : replace(kBlock);
}

}  // namespace

std::optional<std::string> wan_to_diffusers(std::string_view name) {
  return translate(name, &NamePair::wan, &NamePair::diffusers);
}

std::optional<std::string> diffusers_to_wan(std::string_view name) {
  return translate(name, &NamePair::diffusers, &NamePair::wan);
}

bool is_diffusers_name(std::string_view name) {
  return diffusers_to_wan(name).has_value() && !wan_to_diffusers(name).has_value();
}

}  // namespace vmla::model
