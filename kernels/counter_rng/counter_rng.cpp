#include "kernels/counter_rng/counter_rng.h"

#include <ATen/ATen.h>

#include "kernels/counter_rng/draw_cpu.h"
#include "kernels/counter_rng/pack_key.h"

namespace vmla::kernels {
namespace {

// The finaliser of SplitMix64 (Steele et al., OOPSLA 2014): a bijection of 64 bits.
uint64_t mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

}  // namespace

PhiloxKey pack_key(const DrawKey& key) {
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ull;
  const uint64_t use = static_cast<uint64_t>(key.purpose) | static_cast<uint64_t>(key.role) << 32;
  const uint64_t high = (key.step >> 32) | (key.sample >> 32) << 32;
  uint64_t hash = mix64(key.seed + kGolden);
  hash = mix64((hash ^ use) + kGolden);
  hash = mix64((hash ^ high) + kGolden);
  return {{static_cast<uint32_t>(hash), static_cast<uint32_t>(hash >> 32)},
          static_cast<uint32_t>(key.step),
          static_cast<uint32_t>(key.sample)};
}

uint32_t hash_role(std::string_view name) {
  uint32_t hash = 2166136261u;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

PhiloxWords philox_block(const DrawKey& key, uint64_t block) {
  PhiloxWords words;
  philox_words(pack_key(key), block, words.w);
  return words;
}

double uniform_at(const DrawKey& key, uint64_t i) {
  const PhiloxWords words = philox_block(key, i / 2);
  const uint64_t bits =
      static_cast<uint64_t>(words.w[2 * (i % 2)]) << 32 | words.w[2 * (i % 2) + 1];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

int64_t uniform_index(const DrawKey& key, int64_t n, uint64_t i) {
  TORCH_CHECK(n >= 1 && n < (int64_t{1} << 53), "uniform_index: n must be in [1, 2^53), got ", n);
  // u is at most 1 - 2^-53, so u * n rounds to n at most; the minimum removes that one case.
  return std::min<int64_t>(static_cast<int64_t>(uniform_at(key, i) * static_cast<double>(n)),
                           n - 1);
}

at::Tensor normal(const DrawKey& key, at::IntArrayRef sizes) {
  at::Tensor out = at::empty(sizes, at::kFloat);
  draw_normals(pack_key(key), out.numel(), out.data_ptr<float>());
  return out;
}

at::Tensor uniform(const DrawKey& key, at::IntArrayRef sizes) {
  at::Tensor out = at::empty(sizes, at::kFloat);
  draw_uniforms(pack_key(key), out.numel(), out.data_ptr<float>());
  return out;
}

at::Tensor normal_batch(DrawKey key, uint64_t first_sample, int64_t batch, at::IntArrayRef sizes) {
  std::vector<int64_t> batch_sizes{batch};
  batch_sizes.insert(batch_sizes.end(), sizes.begin(), sizes.end());
  at::Tensor out = at::empty(batch_sizes, at::kFloat);
  const int64_t count = batch > 0 ? out.numel() / batch : 0;
  for (int64_t b = 0; b < batch; ++b) {
    key.sample = first_sample + static_cast<uint64_t>(b);
    draw_normals(pack_key(key), count, out.data_ptr<float>() + b * count);
  }
  return out;
}

}  // namespace vmla::kernels
