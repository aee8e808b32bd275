#include "data/import/import_latents.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <variant>

#include "data/encode/encode_parts.h"
#include "data/encode/job_fingerprint.h"
#include "data/encode/job_progress.h"
#include "data/import/import_clips.h"
#include "data/import/latent_source.h"
#include "data/import/ode_states.h"
#include "model/codec/latent_scale.h"
#include "model/io/atomic_file.h"
#include "model/io/counted.h"
#include "model/io/csv.h"
#include "model/io/error.h"
#include "model/io/graceful_stop.h"
#include "model/io/log.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// Captions that are embedded together, where the encoder has weights.
constexpr size_t kCaptionsAtOnce = 16;
/// Clips whose statistics say whether latents are normalised.
constexpr size_t kClipsForScale = 16;

std::string fingerprint_of(const ImportOptions& options,
                           const LatentInfo& info,
                           const LatentSource& source,
                           const OdeStates& states) {
  JobFingerprint job;
  job.line("import " + options.from);
  job.record(info.codec, info.text_encoder_hash);
  job.line(info.fps, options.normalize, options.ode_fp32, source.shape());
  job.line(states.kept);
  job.line(states.times);
  source.identify(job);
  return job.hash();
}

/// What the dataset says of itself: Wan's VAE makes 1 + 4 (F - 1) frames of 8 H x 8 W pixels.
LatentInfo info_of(const ImportOptions& options,
                   const std::vector<int64_t>& shape,
                   const OdeStates& states) {
  LatentInfo info;
  info.codec = options.codec;
  info.fps = options.fps;
  info.clip_shape = {shape.begin() + 1, shape.end()};
  info.pixel_frames = 1 + 4 * (shape[1] - 1);
  info.pixel_height = 8 * shape[3];
  info.pixel_width = 8 * shape[4];
  info.ode_times = states.times;
  info.ode_fp32 = options.ode_fp32;
  info.origin = formatted("imported from {}", options.in.string());
  return info;
}

/// Looks at the first clips that are whole: training on raw latents as if they were normalised
/// fails only in what it makes.
void check_scale(const ImportOptions& options, LatentSource& source) {
  std::vector<at::Tensor> clips;
  for (size_t i = 0; i < source.rows().size() && clips.size() < kClipsForScale; ++i) {
    if (!source.rows()[i].fault.empty()) continue;
    const auto row = source.read(i);
    const auto* const clip = std::get_if<SourceClip>(&row);
    if (clip && at::isfinite(clip->latents[-1]).all().item<bool>())
      clips.push_back(clip->latents[-1].clone());
  }
  if (clips.empty()) return;  // all rows will be listed as skipped
  const model::LatentScale scale = model::latent_scale(at::stack(clips));
  if (scale == model::LatentScale::kRaw && !options.normalize) {
    fail_user(
        "{}: the latents are raw, as Wan's VAE computes them: their means and deviations by "
        "channel say so; give --normalize",
        options.in.string());
  }
  if (scale == model::LatentScale::kNormalised && options.normalize) {
    fail_user(
        "{}: the latents are normalised already, by their means and deviations; leave out "
        "--normalize",
        options.in.string());
  }
  if (scale == model::LatentScale::kNormalisedTwice) {
    fail_user(
        "{}: the latents were normalised twice: their means and deviations by channel are those "
        "of normalised ones less the mean and over the deviation of Wan's latents; write them "
        "anew",
        options.in.string());
  }
  if (scale == model::LatentScale::kUnknown) {
    log::warn(
        "{}: by their means and deviations the latents are neither normalised nor raw ones of "
        "Wan's VAE; they are taken {}",
        options.in.string(),
        options.normalize ? "for raw" : "as they are");
  }
}

/// The rows of one batch, from `first` on, into parts.
void import_batch(const ImportOptions& options,
                  LatentSource& source,
                  const OdeStates& states,
                  const CaptionTexts& texts,
                  size_t first,
                  EncodeParts& parts) {
  const auto& rows = source.rows();
  const size_t end = std::min(first + kCaptionsAtOnce, rows.size());
  const std::vector<at::Tensor> embeddings = computed_texts(source, texts, first, end);
  // Batches begin where they would have begun without a kill; what is stored already is left out.
  for (size_t i = std::max(first, static_cast<size_t>(parts.end_video())); i < end; ++i) {
    auto clip = import_clip(i, options, source, states, texts, embeddings[i - first]);
    if (const auto* const fault = std::get_if<std::string>(&clip)) {
      parts.end_of_video(SkippedVideo{.file = rows[i].place, .reason = *fault});
    } else {
      parts.add_video(std::move(std::get<EncodedClip>(clip)));
    }
  }
}

/// Logs the first rows that were left out, and lists all of them in NAME.skipped.csv.
void list_skipped(const fs::path& out, const std::vector<SkippedVideo>& skipped) {
  constexpr size_t kShown = 10;
  fs::path list = out;
  list.replace_extension(".skipped.csv");
  std::error_code ignored;
  fs::remove(list, ignored);  // of an earlier job
  if (skipped.empty()) return;
  std::string text = io::csv_row({"file", "reason"});
  for (size_t i = 0; i < skipped.size(); ++i) {
    if (i < kShown) log::warn("skipped {}: {}", skipped[i].file, skipped[i].reason);
    text += io::csv_row({skipped[i].file, skipped[i].reason});
  }
  io::write_file_atomically(list, text);
  log::info("{} left out: listed in {}", io::counted(skipped.size(), "row"), list.string());
}

/// How many states of a path the options speak of; 0 if they do not.
int64_t states_said(const ImportOptions& options) {
  return options.states.empty() ? static_cast<int64_t>(options.ode_times.size())
                                : options.states.back() + 1;
}

std::unique_ptr<LatentSource> open_source(const ImportOptions& options) {
  if (options.from == "tar") return make_tar_source(options.in, states_said(options));
  return make_lmdb_source(options.in);
}

}  // namespace

ImportReport import_latents(const ImportOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const std::unique_ptr<LatentSource> opened = open_source(options);
  LatentSource& source = *opened;
  const int64_t stored = source.shape().front();
  const OdeStates states =
      stored > 1 ? ode_states_of(stored, options.states, options.ode_times) : OdeStates{};
  check_scale(options, source);
  LatentInfo info = info_of(options, source.shape(), states);
  const CaptionTexts texts = make_caption_texts(options, source, info);
  const auto claim = claim_output(options.out, options.overwrite);
  EncodeParts parts(
      {.out = options.out,
       .info = info,
       .empty_text = texts.encoder ? text_rows(*texts.encoder, "") : std::vector<float>{},
       .fingerprint = fingerprint_of(options, info, source, states),
       .part_seconds = options.part_seconds});
  ImportReport report;
  report.rows = static_cast<int64_t>(source.rows().size());
  report.resumed = parts.end_video();
  JobProgress progress("import", "rows", static_cast<long>(report.rows));
  io::GracefulStop stop([&] { return commit_at_stop(parts, report.rows, "row"); });
  const size_t begun = static_cast<size_t>(report.resumed) / kCaptionsAtOnce * kCaptionsAtOnce;
  for (size_t first = begun; first < source.rows().size(); first += kCaptionsAtOnce) {
    import_batch(options, source, states, texts, first, parts);
    progress.update(static_cast<long>(parts.end_video()));
    stop.check();
  }
  parts.commit();
  report.skipped = parts.skipped();
  list_skipped(options.out, report.skipped);
  report.clips = parts.clips();
  if (report.clips == 0) {
    parts.remove();
    fail_user("{}: none of {} can be imported; the first: {}: {}",
              options.in.string(),
              io::counted(report.rows, "row"),
              report.skipped.front().file,
              report.skipped.front().reason);
  }
  parts.merge();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

}  // namespace vmla::data
