#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace vmla::model {

/// What of a block's activations a pass with gradients drops and computes again in backward
/// (train.recompute). The same bits come out of all three.
enum class Recompute {
  kNone,
  kSelective,  // all but the results of attention
  kBlock,      // all but the block's input
};

inline constexpr std::array<std::pair<std::string_view, Recompute>, 3> kRecomputeNames = {
    {{"none", Recompute::kNone},
     {"selective", Recompute::kSelective},
     {"block", Recompute::kBlock}}};

/// One of kRecomputeNames; another name is taken for none, for the configuration has refused it.
inline Recompute recompute_named(const std::string& name) {
  for (const auto& [known, recompute] : kRecomputeNames) {
    if (known == name) return recompute;
  }
  return Recompute::kNone;
}

/// Whether `name` stands for more recomputation, and less memory, than `other`.
inline bool recomputes_more(const std::string& name, const std::string& other) {
  return recompute_named(name) > recompute_named(other);
}

}  // namespace vmla::model
