#include "model/codec/text_encoder.h"

#include <ATen/ATen.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "model/codec/hashing_text_encoder.h"
#include "model/codec/umt5_text_encoder.h"
#include "model/io/error.h"

namespace vmla::model {
namespace {

constexpr std::string_view kHashing = "hashing:", kUmt5 = "umt5";
constexpr int64_t kMostRows = 65536;

/// A whole number from 1 to `most` that `text` begins with, and is taken from.
std::optional<int64_t> take_number(std::string_view& text, int64_t most) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 1 || number > most) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

std::unique_ptr<TextEncoder> hashing_encoder(std::string_view sizes) {
  const auto text_dim = take_number(sizes, kMostRows);
  if (!text_dim || !sizes.starts_with('x')) return nullptr;
  sizes.remove_prefix(1);
  const auto most_rows = take_number(sizes, kMostRows);
  if (!most_rows || !sizes.empty()) return nullptr;
  return std::make_unique<HashingTextEncoder>(*text_dim, *most_rows);
}

/// Most rows of "umt5" or "umt5:T"; none for another name.
std::optional<int64_t> umt5_rows(std::string_view name) {
  if (!name.starts_with(kUmt5)) return std::nullopt;
  name.remove_prefix(kUmt5.size());
  if (name.empty()) return Umt5TextEncoder::kUsualRows;
  if (!name.starts_with(':')) return std::nullopt;
  name.remove_prefix(1);
  const auto rows = take_number(name, kMostRows);
  return name.empty() ? rows : std::nullopt;
}

}  // namespace

int64_t TextEncoder::rows(const std::string& prompt) const {
  return encode(prompt).size(0);
}

std::vector<at::Tensor> TextEncoder::encode_all(const std::vector<std::string>& prompts) const {
  std::vector<at::Tensor> embeddings;
  for (const std::string& prompt : prompts) embeddings.push_back(encode(prompt));
  return embeddings;
}

bool text_encoder_has_weights(const std::string& name) {
  return umt5_rows(name).has_value();
}

std::unique_ptr<TextEncoder> make_text_encoder(const std::string& name,
                                               const TextEncoderOptions& options) {
  if (name.starts_with(kHashing)) {
    if (auto encoder = hashing_encoder(std::string_view(name).substr(kHashing.size())))
      return encoder;
  }
  if (const auto rows = umt5_rows(name)) {
    if (options.weights.empty())
      fail_user("text encoder {} needs its weights: give {}", name, options.weights_option);
    if (options.tokenizer.empty())
      fail_user("text encoder {} needs its tokenizer: give {}", name, options.tokenizer_option);
    return std::make_unique<Umt5TextEncoder>(*rows, options);
  }
  fail_user(
      "text encoder \"{}\" is unknown; known: hashing:DxT, width D and at most T rows; umt5, or "
      "umt5:T with at most T rows",
      name);
}

}  // namespace vmla::model
