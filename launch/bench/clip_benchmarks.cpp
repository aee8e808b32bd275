#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fcntl.h>
#include <unistd.h>

#include <vector>

#include "data/store/latent_dataset.h"
#include "launch/bench/benchmarks.h"
#include "launch/bench/random_stage.h"
#include "model/codec/video_codec.h"
#include "model/io/error.h"
#include "model/io/format.h"
#include "trainer/inputs/stage_codec.h"

namespace vmla::launch::bench {
namespace {

using namespace trainer;

/// Reads every file of the dataset from its beginning to its end in parts of `part` bytes; how many
/// bytes that were.
double read_plainly(const data::LatentDataset& clips, size_t part) {
  std::vector<char> into(part);
  double bytes = 0;
  for (int64_t i = 0; i < clips.file_count(); ++i) {
    const std::string path = clips.file_path(i).string();
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) fail_run("bench data: {} cannot be opened any more", path);
    for (ssize_t got = 1; got > 0; bytes += static_cast<double>(got)) {
      got = read(file, into.data(), part);
      if (got < 0) fail_run("bench data: {} cannot be read", path);
    }
    close(file);
  }
  return bytes;
}

}  // namespace

Outcome time_data(const Request& request) {
  const std::string& path = request.config.data.path;
  if (!std::filesystem::exists(path)) {
    fail_user("bench data: data.path {} is not there; name a dataset with --set data.path=FILE.h5",
              path);
  }
  const data::LatentDataset clips(path);
  if (!clips.has_latents()) fail_user("bench data: {} is a prompt set without latents", path);
  double bytes = 0;  // in 16 bits, as they are stored
  for (int64_t clip = 0; clip < clips.size(); ++clip)
    bytes += 2.0 * static_cast<double>(clips.latents(clip).numel());
  const double clip_bytes = bytes / static_cast<double>(clips.size());
  const auto read_all = [](const data::LatentDataset& from) {
    for (int64_t clip = 0; clip < from.size(); ++clip) from.stored_latents(clip);
  };
  std::vector<Row> rows = {{.name = "clips as stored, in bf16", .bytes = bytes}};
  rows[0].runs = time_runs(at::kCPU, request.repeats, [&] { read_all(clips); });
  if (clips.has_digests()) {
    Row first{.name = "the same, each for the first time", .bytes = bytes};
    for (int64_t i = 0; i < request.repeats.count; ++i) {
      const data::LatentDataset opened(path);  // which compares every clip with its digest
      const auto once = time_runs(at::kCPU, {.warm_up = 0, .count = 1}, [&] { read_all(opened); });
      first.runs.push_back(once.front());
    }
    rows.push_back(first);
  }
  Row plain{.name = "plain reads of the files"};
  plain.runs = time_runs(at::kCPU, request.repeats, [&] {
    plain.bytes = read_plainly(clips, static_cast<size_t>(clip_bytes));
  });
  const double plain_rate = plain.bytes / wall_of(plain).median;
  for (Row& row : rows) {
    row.figures.emplace_back("share_of_plain_rate", row.bytes / wall_of(row).median / plain_rate);
  }
  rows.push_back(plain);
  return {
      .subject = formatted(
          "{} clips of {:.0f} bytes in {}, from the page cache", clips.size(), clip_bytes, path),
      .rows = std::move(rows)};
}

Outcome time_vae(const Request& request) {
  const TrainConfig& config = request.config;
  const at::NoGradGuard no_grad;
  const PlannedMedia media = planned_media(config);
  const std::string name = media.codec.empty() ? "wan-vae" : media.codec;
  const auto codec = model::make_video_codec(name, codec_options(config));
  const ClipShape& clip = media.clip;
  const at::Tensor latents = at::randn({clip.frames, clip.channels, clip.height, clip.width});
  const auto frames = static_cast<double>(codec->pixel_frames(clip.frames));
  at::Tensor pixels;
  Row decode{.name = "decode a clip"};
  decode.runs = time_runs(
      at::Device(config.train.device), request.repeats, [&] { pixels = codec->decode(latents); });
  decode.figures.emplace_back("frames_per_second", frames / wall_of(decode).median);
  Outcome outcome{.subject = formatted("{}, {:.0f} frames of {} x {} pixels",
                                       codec->name(),
                                       frames,
                                       clip.height * codec->spatial_factor(),
                                       clip.width * codec->spatial_factor()),
                  .rows = {decode}};
  if (model::codec_of_latents(name) != name) return outcome;  // a decoder of another's latents
  Row encode{.name = "encode a clip"};
  encode.runs = time_runs(at::Device(config.train.device), request.repeats, [&] {
    codec->encode(pixels.clamp(-1, 1));
  });
  encode.figures.emplace_back("frames_per_second", frames / wall_of(encode).median);
  outcome.rows.push_back(encode);
  return outcome;
}

}  // namespace vmla::launch::bench
