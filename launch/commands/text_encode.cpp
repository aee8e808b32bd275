#include "launch/commands/text_encode.h"

#include <ATen/ATen.h>

#include <chrono>
#include <utility>
#include <vector>

#include "data/encode/job_progress.h"
#include "data/encode/prompt_file.h"
#include "model/codec/umt5_text_encoder.h"
#include "model/formats/safetensors.h"
#include "model/io/counted.h"
#include "model/io/exit_status.h"
#include "model/io/graceful_stop.h"
#include "model/io/log.h"

namespace vmla::launch {
namespace {

/// Rows that are embedded at once: enough that reading a matrix takes less time than multiplying.
constexpr size_t kRowsAtOnce = 512;

/// How many prompts from `first` on are embedded together.
size_t prompts_at_once(const std::vector<std::vector<int64_t>>& ids, size_t first) {
  size_t rows = ids[first].size(), end = first + 1;
  for (; end < ids.size() && rows + ids[end].size() <= kRowsAtOnce; ++end) rows += ids[end].size();
  return end - first;
}

at::Tensor embeddings_of(const model::Umt5TextEncoder& encoder,
                         const std::vector<std::vector<int64_t>>& ids) {
  io::GracefulStop stop([] { return std::string("stopped; nothing is written"); });
  data::JobProgress progress("embed", "prompts", static_cast<long>(ids.size()));
  std::vector<at::Tensor> rows;
  for (size_t done = 0; done < ids.size();) {
    const auto from = ids.begin() + static_cast<std::ptrdiff_t>(done);
    const size_t count = prompts_at_once(ids, done);
    for (at::Tensor& embedding : encoder.embed({from, from + static_cast<std::ptrdiff_t>(count)}))
      rows.push_back(std::move(embedding));
    done += count;
    progress.update(static_cast<long>(done));
    stop.check();
  }
  return at::cat(rows);
}

}  // namespace

int run(const TextEncodeArgs& args) {
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<std::string> prompts = data::read_prompt_file(args.prompts);
  const model::Umt5TextEncoder encoder(args.text_len,
                                       {.weights = args.weights,
                                        .tokenizer = args.tokenizer,
                                        .device = args.device,
                                        .precision = args.precision});
  const std::vector<std::vector<int64_t>> ids = encoder.ids(prompts);
  std::vector<int64_t> all_ids, offsets = {0};
  for (const auto& of_prompt : ids) {
    all_ids.insert(all_ids.end(), of_prompt.begin(), of_prompt.end());
    offsets.push_back(static_cast<int64_t>(all_ids.size()));
  }
  model::write_safetensors(
      args.output,
      {{"embeddings", embeddings_of(encoder, ids)},
       {"offsets", at::tensor(offsets, at::kLong)},
       {"token_ids", at::tensor(all_ids, at::kLong)}},
      {{"text_encoder", encoder.name()}, {"text_encoder_hash", encoder.hash()}});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  log::info("{}: {} of {} in {:.1f} s",
            args.output,
            io::counted(all_ids.size(), "row"),
            io::counted(prompts.size(), "prompt"),
            seconds.count());
  return kDone;
}

}  // namespace vmla::launch
