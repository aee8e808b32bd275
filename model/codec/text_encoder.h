#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "model/codec/text_encoder_options.h"

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
  /// T of a prompt, without the work of embedding it where it can be told.
  virtual int64_t rows(const std::string& prompt) const;
  /// As encode(), for several prompts: faster where an encoder has weights.
  virtual std::vector<at::Tensor> encode_all(const std::vector<std::string>& prompts) const;
};

/// Builds the encoder `name` describes: "hashing:DxT", or "umt5" and "umt5:T" with at most T rows a
/// prompt (512). UserError lists the known ones, or says which of the options is missing.
std::unique_ptr<TextEncoder> make_text_encoder(const std::string& name,
                                               const TextEncoderOptions& options = {});

/// True if the encoder has weights, and make_text_encoder needs to know where they are.
bool text_encoder_has_weights(const std::string& name);

}  // namespace vmla::model
