#pragma once

#include "model/codec/text_encoder.h"

namespace vmla::model {

/// The text encoder of the tiny pipeline: each word, lower-cased and without punctuation, is a
/// standard normal vector of its own, drawn from a stable hash of its letters. A prompt is the rows
/// of its words in order, the first `max_rows` of them. The empty prompt is one row that no word
/// has.
class HashingTextEncoder final : public TextEncoder {
 public:
  HashingTextEncoder(int64_t text_dim, int64_t max_rows);
  std::string name() const override;
  std::string hash() const override;
  int64_t text_dim() const override { return text_dim_; }
  at::Tensor encode(const std::string& prompt) const override;

 private:
  int64_t text_dim_;
  int64_t max_rows_;
};

}  // namespace vmla::model
