#include "model/codec/umt5_text_encoder.h"

#include <ATen/ATen.h>

#include "kernels/cuda_module.h"
#include "model/io/error.h"
#include "model/io/sha256.h"
#include "model/text/prompt_cleaning.h"

namespace vmla::model {
namespace {

Umt5Precision precision_of(const std::string& name) {
  if (name != "fp32" && name != "bf16")
    fail_user("text encoder: precision is {}; known: fp32, bf16", name);
  return {.matrices = name == "bf16" ? at::kBFloat16 : at::kFloat};
}

c10::Device device_of(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  if (name != "cuda") fail_user("text encoder: device is {}; known: cpu, cuda", name);
  const std::string reason = kernels::load_cuda_module();
  if (!reason.empty()) fail_user("text encoder: device cuda: {}; use cpu", reason);
  return at::kCUDA;
}

}  // namespace

Umt5TextEncoder::Umt5TextEncoder(int64_t most_rows, const TextEncoderOptions& options)
    : most_rows_(most_rows),
      precision_(precision_of(options.precision)),
      tokenizer_(options.tokenizer) {
  const c10::Device device = device_of(options.device);
  LoadedUmt5 loaded = read_umt5(options.weights);
  source_ = loaded.source;
  const int64_t rows = loaded.weights.config.vocabulary;
  if (tokenizer_.size() > rows) {
    fail_user(
        "{}: the tokenizer has {} pieces, but the encoder of {} knows {}: they do not belong "
        "together",
        tokenizer_.path().string(),
        tokenizer_.size(),
        source_,
        rows);
  }
  const std::string text = formatted("umt5 rows={} weights={} tokenizer={}",
                                     most_rows_,
                                     umt5_hash(loaded.weights),
                                     tokenizer_.hash());
  hash_ = io::sha256_hex(text.data(), text.size());
  weights_ = umt5_on(std::move(loaded.weights), device, precision_);
}

std::string Umt5TextEncoder::name() const {
  return most_rows_ == kUsualRows ? "umt5" : formatted("umt5:{}", most_rows_);
}

at::Tensor Umt5TextEncoder::encode(const std::string& prompt) const {
  return encode_all({prompt}).front();
}

int64_t Umt5TextEncoder::rows(const std::string& prompt) const {
  return static_cast<int64_t>(ids({prompt}).front().size());
}

std::vector<at::Tensor> Umt5TextEncoder::encode_all(const std::vector<std::string>& prompts) const {
  return embed(ids(prompts));
}

std::vector<std::vector<int64_t>> Umt5TextEncoder::ids(
    const std::vector<std::string>& prompts) const {
  std::vector<std::vector<int64_t>> all;
  for (const std::string& prompt : prompts)
    all.push_back(tokenizer_.encode(clean_prompt(prompt), most_rows_));
  return all;
}

std::vector<at::Tensor> Umt5TextEncoder::embed(const std::vector<std::vector<int64_t>>& ids) const {
  std::vector<at::Tensor> embeddings = umt5_encode(weights_, ids, precision_);
  for (const at::Tensor& embedding : embeddings) {
    if (at::isfinite(embedding).all().item<bool>()) continue;
    fail_run("{}: an embedding is not finite in {}", source_, at::toString(precision_.matrices));
  }
  return embeddings;
}

}  // namespace vmla::model
