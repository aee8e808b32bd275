#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace vmla::model {

/// What a rollout's cache stores latents as (sample.kv_cache_dtype). Rotary keys stay as they were
/// computed.
enum class KvCacheDtype {
  kAuto,  // as they were computed
  kInt8,  // of latent attention: in eight bits, with a factor for each token
};

inline constexpr std::array<std::pair<std::string_view, KvCacheDtype>, 2> kKvCacheDtypeNames = {
    {{"auto", KvCacheDtype::kAuto}, {"int8", KvCacheDtype::kInt8}}};

/// One of kKvCacheDtypeNames; another name is taken for auto, for the configuration has refused it.
inline KvCacheDtype kv_cache_dtype_named(const std::string& name) {
  for (const auto& [known, dtype] : kKvCacheDtypeNames) {
    if (known == name) return dtype;
  }
  return KvCacheDtype::kAuto;
}

}  // namespace vmla::model
