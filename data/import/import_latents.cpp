#include "data/import/import_latents.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "data/encode/counted.h"
#include "data/encode/encode_parts.h"
#include "data/encode/job_fingerprint.h"
#include "data/encode/job_progress.h"
#include "data/import/latent_scale.h"
#include "data/import/lmdb_rows.h"
#include "data/import/ode_states.h"
#include "data/video/csv.h"
#include "model/codec/text_encoder.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/graceful_stop.h"
#include "model/io/log.h"
#include "model/io/utf8.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// Captions that are embedded together, where the encoder has weights.
constexpr size_t kCaptionsAtOnce = 16;
/// Clips whose statistics say whether latents are normalised.
constexpr size_t kClipsForScale = 16;

std::string place_of(const LmdbRow& row) {
  return formatted("{} row {}", row.file, row.number);
}

/// Why a row cannot be imported; empty if it can.
std::string fault_of(const LmdbRow& row, const std::vector<int64_t>& shape) {
  const size_t bytes = static_cast<size_t>(c10::multiply_integers(shape)) * sizeof(uint16_t);
  if (row.latents.size() != bytes)
    return formatted("its latents have {} bytes, must have {}", row.latents.size(), bytes);
  if (!row.caption) return "has no prompt";
  if (const auto bad = io::first_bad_text_byte(*row.caption))
    return formatted("its prompt is no UTF-8, or holds a zero byte, at byte {}", *bad);
  return {};
}

/// The row's numbers, [S, F, C, H, W], as floats. A value on overflow pages is aligned to 16 bytes,
/// a small one may be not: it is copied.
at::Tensor latents_of(const LmdbRow& row, const std::vector<int64_t>& shape) {
  at::Tensor half = at::empty(shape, at::kHalf);
  std::copy_n(row.latents.data(), row.latents.size(), static_cast<char*>(half.data_ptr()));
  return half.to(at::kFloat);
}

std::string fingerprint_of(const ImportOptions& options,
                           const LatentInfo& info,
                           const LmdbRows& source,
                           const OdeStates& states) {
  JobFingerprint job;
  job.line("import lmdb");
  job.record(info.codec, info.text_encoder_hash);
  job.line(info.fps, options.normalize, options.ode_fp32, source.shape());
  job.line(states.kept);
  job.line(states.times);
  for (const LmdbRow& row : source.rows())
    job.record(row.file, row.number, row.latents.size(), row.caption.value_or(""));
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
void check_scale(const ImportOptions& options, const LmdbRows& source) {
  std::vector<at::Tensor> clips;
  for (const LmdbRow& row : source.rows()) {
    if (clips.size() == kClipsForScale) break;
    if (!fault_of(row, source.shape()).empty()) continue;
    const at::Tensor clip = latents_of(row, source.shape())[-1];
    if (at::isfinite(clip).all().item<bool>()) clips.push_back(clip);
  }
  if (clips.empty()) return;  // all rows will be listed as skipped
  const LatentScale scale = latent_scale(at::stack(clips));
  if (scale == LatentScale::kRaw && !options.normalize) {
    fail_user(
        "{}: the latents are raw, as Wan's VAE computes them: their means and deviations by "
        "channel say so; give --normalize",
        options.in.string());
  }
  if (scale == LatentScale::kNormalised && options.normalize) {
    fail_user(
        "{}: the latents are normalised already, by their means and deviations; leave out "
        "--normalize",
        options.in.string());
  }
  if (scale == LatentScale::kUnknown) {
    log::warn(
        "{}: by their means and deviations the latents are neither normalised nor raw ones of "
        "Wan's VAE; they are taken {}",
        options.in.string(),
        options.normalize ? "for raw" : "as they are");
  }
}

/// The row as a clip. Nothing, and why, where its numbers are not finite.
std::optional<EncodedClip> clip_of(const LmdbRow& row,
                                   const ImportOptions& options,
                                   const std::vector<int64_t>& shape,
                                   const OdeStates& states) {
  at::Tensor latents_SFCHW = latents_of(row, shape);
  if (!at::isfinite(latents_SFCHW).all().item<bool>()) return std::nullopt;
  if (options.normalize) latents_SFCHW = normalised_latents(latents_SFCHW);
  EncodedClip clip;
  clip.record.source_file = row.file;
  clip.record.first_frame = row.number;
  set_latents(clip, latents_SFCHW[-1]);
  if (!states.times.empty()) {
    const at::Tensor kept = latents_SFCHW.index_select(0, at::tensor(states.kept, at::kLong))
                                .to(options.ode_fp32 ? at::kFloat : at::kBFloat16)
                                .contiguous();
    const auto* const bytes = static_cast<const std::byte*>(kept.const_data_ptr());
    clip.ode.assign(bytes, bytes + kept.nbytes());
  }
  return clip;
}

/// The rows of one batch, from `first` on, into parts.
void import_batch(const ImportOptions& options,
                  const LmdbRows& source,
                  const OdeStates& states,
                  const model::TextEncoder& text,
                  size_t first,
                  EncodeParts& parts) {
  const auto& rows = source.rows();
  const size_t end = std::min(first + kCaptionsAtOnce, rows.size());
  std::vector<std::string> captions;
  for (size_t i = first; i < end; ++i) captions.push_back(rows[i].caption.value_or(""));
  const std::vector<at::Tensor> embeddings = text.encode_all(captions);
  // Batches begin where they would have begun without a kill; what is stored already is left out.
  for (size_t i = std::max(first, static_cast<size_t>(parts.end_video())); i < end; ++i) {
    std::string fault = fault_of(rows[i], source.shape());
    std::optional<EncodedClip> clip;
    if (fault.empty()) {
      clip = clip_of(rows[i], options, source.shape(), states);
      if (!clip) fault = "holds NaN or infinity";
    }
    if (!clip) {
      parts.end_of_video(SkippedVideo{.file = place_of(rows[i]), .reason = fault});
      continue;
    }
    const at::Tensor rows_TE = embeddings[i - first].to(at::kFloat).contiguous();
    const float* const values = rows_TE.const_data_ptr<float>();
    set_caption(*clip, captions[i - first], {values, values + rows_TE.numel()}, text.text_dim());
    parts.add_video(std::move(*clip));
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
  std::string text = csv_row({"file", "reason"});
  for (size_t i = 0; i < skipped.size(); ++i) {
    if (i < kShown) log::warn("skipped {}: {}", skipped[i].file, skipped[i].reason);
    text += csv_row({skipped[i].file, skipped[i].reason});
  }
  io::write_file_atomically(list, text);
  log::info("{} left out: listed in {}", counted(skipped.size(), "row"), list.string());
}

}  // namespace

ImportReport import_lmdb(const ImportOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const LmdbRows source(options.in);
  const int64_t stored = source.shape().front();
  const OdeStates states =
      stored > 1 ? ode_states_of(stored, options.states, options.ode_times) : OdeStates{};
  check_scale(options, source);
  const auto text = model::make_text_encoder(options.text, options.text_options);
  const auto claim = claim_output(options.out, options.overwrite);
  LatentInfo info = info_of(options, source.shape(), states);
  set_text_encoder(info, *text);
  EncodeParts parts({.out = options.out,
                     .info = info,
                     .empty_text = text_rows(*text, ""),
                     .fingerprint = fingerprint_of(options, info, source, states),
                     .part_seconds = options.part_seconds});
  ImportReport report;
  report.rows = static_cast<int64_t>(source.rows().size());
  report.resumed = parts.end_video();
  JobProgress progress("import", "rows", static_cast<long>(report.rows));
  io::GracefulStop stop([&] { return commit_at_stop(parts, report.rows, "row"); });
  const size_t begun = static_cast<size_t>(report.resumed) / kCaptionsAtOnce * kCaptionsAtOnce;
  for (size_t first = begun; first < source.rows().size(); first += kCaptionsAtOnce) {
    import_batch(options, source, states, *text, first, parts);
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
              counted(report.rows, "row"),
              report.skipped.front().file,
              report.skipped.front().reason);
  }
  parts.merge();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

}  // namespace vmla::data
