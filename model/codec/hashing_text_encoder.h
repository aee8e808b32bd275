#pragma once

#include "model/codec/text_encoder.h"

namespace vmla::model {

/// The text encoder of the tiny pipeline. Each word, in lower case and without punctuation, has a
/// standard normal vector, drawn from a hash of its letters. A prompt's rows are those of its first
/// `max_rows` words in order; the empty prompt has one row that belongs to no word.
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
