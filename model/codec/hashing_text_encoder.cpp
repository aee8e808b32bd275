#include "model/codec/hashing_text_encoder.h"

#include <ATen/ATen.h>

#include <string_view>
#include <vector>

#include "kernels/counter_rng/counter_rng.h"
#include "model/io/error.h"
#include "model/io/sha256.h"

namespace vmla::model {
namespace {

/// FNV-1a, 64 bits: the seed of a word. Part of the encoder's definition.
uint64_t word_seed(std::string_view word) {
  uint64_t hash = 14695981039346656037ull;
  for (const char c : word) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211ull;
  }
  return hash;
}

/// Words are runs of ASCII letters and digits and of any byte above 127 (UTF-8), whatever the
/// locale.
std::vector<std::string> words_of(const std::string& prompt) {
  std::vector<std::string> words;
  bool inside = false;
  for (const char c : prompt) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool belongs = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') ||
                         static_cast<unsigned char>(lower) > 127;
    if (belongs && !inside) words.emplace_back();
    if (belongs) words.back().push_back(lower);
    inside = belongs;
  }
  return words;
}

}  // namespace

HashingTextEncoder::HashingTextEncoder(int64_t text_dim, int64_t max_rows)
    : text_dim_(text_dim), max_rows_(max_rows) {}

std::string HashingTextEncoder::name() const {
  return formatted("hashing:{}x{}", text_dim_, max_rows_);
}

std::string HashingTextEncoder::hash() const {
  const std::string text =
      formatted("hashing text_dim={} max_rows={} fnv1a64 philox normal", text_dim_, max_rows_);
  return io::sha256_hex(text.data(), text.size());
}

at::Tensor HashingTextEncoder::encode(const std::string& prompt) const {
  std::vector<std::string> words = words_of(prompt);
  if (words.empty()) words.emplace_back();  // the hash of no letters: the row of no word
  if (static_cast<int64_t>(words.size()) > max_rows_) words.resize(static_cast<size_t>(max_rows_));
  std::vector<at::Tensor> rows;
  for (const std::string& word : words) {
    const kernels::DrawKey key{.seed = word_seed(word),
                               .step = 0,
                               .purpose = kernels::Purpose::kTextHash,
                               .role = 0,
                               .sample = 0};
    rows.push_back(kernels::normal(key, {text_dim_}));
  }
  return at::stack(rows);
}

}  // namespace vmla::model
