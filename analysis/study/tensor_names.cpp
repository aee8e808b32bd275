#include "analysis/study/tensor_names.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::analysis {
namespace {

constexpr size_t kMostListed = 6;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// A name taken apart by a pattern: what stands in front of it, and the layer's number.
struct Match {
  std::string_view prefix;
  int64_t layer;
};

std::optional<Match> match_end(std::string_view name, std::string_view pattern) {
  const size_t at = pattern.find(kLayer);
  const std::string_view head = pattern.substr(0, at), tail = pattern.substr(at + kLayer.size());
  if (!name.ends_with(tail)) return std::nullopt;
  name.remove_suffix(tail.size());
  size_t begin = name.size();
  while (begin > 0 && is_digit(name[begin - 1])) --begin;
  const std::string_view digits = name.substr(begin);
  // A longer number could not be that of a layer, nor be held in an int64_t.
  if (digits.empty() || digits.size() > 9) return std::nullopt;
  name = name.substr(0, begin);
  if (!name.ends_with(head)) return std::nullopt;
  Match match{.prefix = name.substr(0, name.size() - head.size()), .layer = 0};
  std::from_chars(digits.data(), digits.data() + digits.size(), match.layer);
  return match;
}

/// Numbers that stand alone between dots become "{layer}".
std::string pattern_of(std::string_view name) {
  std::string pattern;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (begin > 0) pattern += '.';
    const bool is_number = !part.empty() && std::ranges::all_of(part, is_digit);
    pattern += is_number ? kLayer : part;
    begin = end + 1;
  }
  return pattern;
}

/// How much a name looks like a weight of attention's keys or values.
int likeness(const std::string& name) {
  int score = 0;
  for (const char* word : {"att", "key", "value", ".k", ".v", "k_", "v_", "kv", "qkv"}) {
    if (name.find(word) != std::string::npos) ++score;
  }
  return score + (name.find(kLayer) != std::string::npos ? 1 : 0);
}

/// Eight bits mean nothing without scales, which every program keeps elsewhere.
bool is_number_type(at::ScalarType type) {
  return type == at::kFloat || type == at::kBFloat16 || type == at::kHalf || type == at::kDouble;
}

}  // namespace

bool is_pattern(std::string_view text) {
  const size_t at = text.find(kLayer);
  return at != std::string_view::npos && text.find(kLayer, at + 1) == std::string_view::npos;
}

std::map<int64_t, std::string> layers_of(const model::TensorMap& tensors,
                                         std::string_view pattern) {
  std::map<int64_t, std::string> layers;
  for (const auto& [name, tensor] : tensors) {
    const std::optional<Match> match = match_end(name, pattern);
    if (match && match->prefix.empty()) layers.emplace(match->layer, name);
  }
  return layers;
}

std::set<std::string> prefixes_before(const model::TensorMap& tensors, std::string_view pattern) {
  std::set<std::string> prefixes;
  for (const auto& [name, tensor] : tensors) {
    const std::optional<Match> match = match_end(name, pattern);
    if (match && (match->prefix.empty() || match->prefix.ends_with('.')))
      prefixes.emplace(match->prefix);
  }
  return prefixes;
}

std::string listed_patterns(const model::TensorMap& tensors) {
  std::map<std::string, int64_t> counts;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.dim() == 2) ++counts[pattern_of(name)];
  }
  if (counts.empty()) return "none";
  std::vector<std::pair<std::string, int64_t>> order(counts.begin(), counts.end());
  std::ranges::stable_sort(
      order, std::ranges::greater(), [](const auto& entry) { return likeness(entry.first); });
  std::string list;
  for (size_t i = 0; i < std::min(order.size(), kMostListed); ++i) {
    list +=
        formatted("{}{} ({})", i > 0 ? ", " : "", io::quoted_name(order[i].first), order[i].second);
  }
  if (order.size() > kMostListed)
    list += formatted(" and {} other names", order.size() - kMostListed);
  return list;
}

void check_pairs(const std::map<int64_t, std::string>& k_names,
                 const std::map<int64_t, std::string>& v_names,
                 const std::string& k_pattern,
                 const std::string& v_pattern,
                 const std::string& source) {
  std::string list;
  size_t alone = 0;
  const auto look = [&](const auto& ones, const auto& others, const std::string& missing) {
    for (const auto& [layer, name] : ones) {
      if (others.contains(layer) || ++alone > kMostListed) continue;
      list += formatted("{}{} has no partner {} of layer {}",
                        list.empty() ? "" : ", ",
                        io::quoted_name(name),
                        io::quoted_name(missing),
                        layer);
    }
  };
  look(k_names, v_names, v_pattern);
  look(v_names, k_names, k_pattern);
  if (alone > kMostListed) list += formatted(", and {} others", alone - kMostListed);
  if (alone > 0) fail_user("{}: keys and values do not pair up: {}", source, list);
}

at::Tensor checked_matrix(const model::TensorMap& tensors,
                          const std::string& name,
                          bool transposed,
                          const std::string& source) {
  const at::Tensor& weight = tensors.at(name);
  if (weight.dim() != 2 || weight.numel() == 0 || !is_number_type(weight.scalar_type())) {
    fail_user("{}: the tensor {} has sizes {} of {}; expected a matrix of fp32, bf16, fp16 or fp64",
              source,
              io::quoted_name(name),
              weight.sizes(),
              c10::toString(weight.scalar_type()));
  }
  if (!weight.isfinite().all().item<bool>())
    fail_user("{}: the tensor {} holds NaN or infinity", source, io::quoted_name(name));
  return transposed ? weight.t() : weight;
}

}  // namespace vmla::analysis
