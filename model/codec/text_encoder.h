#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

namespace vmla::model {

/// Prompts to embeddings. Each prompt has as many rows as it needs; the network pads to text_len.
class TextEncoder {
 public:
  virtual ~TextEncoder() = default;
  virtual std::string name() const = 0;  // e.g. "hashing:32x8" (text_dim x most rows)
  /// SHA-256 (hex) of all that determines the embeddings.
  virtual std::string hash() const = 0;
  virtual int64_t text_dim() const = 0;
  /// [T, text_dim], fp32, 1 <= T. The empty prompt has one row of its own.
  virtual at::Tensor encode(const std::string& prompt) const = 0;
};

/// Builds the encoder `name` describes; UserError lists the known ones.
std::unique_ptr<TextEncoder> make_text_encoder(const std::string& name);

}  // namespace vmla::model
