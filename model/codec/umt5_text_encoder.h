#pragma once

#include "model/codec/text_encoder.h"
#include "model/text/tokenizer.h"
#include "model/text/umt5_encoder.h"

namespace vmla::model {

/// Wan's text encoder: prompts are cleaned, split by a SentencePiece tokenizer and embedded by the
/// encoder of UMT5. Its hash covers weights and tokenizer, not the precision or the device.
class Umt5TextEncoder final : public TextEncoder {
 public:
  static constexpr int64_t kUsualRows = 512;  // Wan's text_len
  static constexpr int64_t kUsualDim = 4096;  // of UMT5-XXL

  /// UserError if weights or tokenizer cannot be read or do not belong together, RunError if the
  /// device cannot be used.
  Umt5TextEncoder(int64_t most_rows, const TextEncoderOptions& options);

  std::string name() const override;
  std::string hash() const override { return hash_; }
  int64_t text_dim() const override { return weights_.config.dim; }
  at::Tensor encode(const std::string& prompt) const override;
  int64_t rows(const std::string& prompt) const override;
  std::vector<at::Tensor> encode_all(const std::vector<std::string>& prompts) const override;

  /// Ids of each prompt, the last of them </s>; at most `most_rows`.
  std::vector<std::vector<int64_t>> ids(const std::vector<std::string>& prompts) const;
  /// The embedding of each prompt that the ids are of: [T, D], fp32 on the CPU. RunError where one
  /// is not finite: the weights are, so the precision does not hold their products.
  std::vector<at::Tensor> embed(const std::vector<std::vector<int64_t>>& ids) const;

 private:
  int64_t most_rows_;
  Umt5Precision precision_;
  Tokenizer tokenizer_;
  Umt5Weights weights_;
  std::string source_, hash_;
};

}  // namespace vmla::model
