#include "data/inspect/inspect_dataset.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "data/inspect/dataset_scale.h"
#include "data/store/latent_dataset.h"
#include "model/codec/video_codec.h"
#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::data {
namespace {

constexpr size_t kCaptionsShown = 20;
constexpr size_t kProblemsShown = 10;
// Without --full so many bytes of numbers are read, a second or less, but some clips in any case.
constexpr int64_t kBytesRead = int64_t{256} << 20;
constexpr int64_t kLeastClipsRead = 64;
// Codecs and noise stay within some tens. Bytes of something else read as bf16 have any exponent:
// about every second number of them is beyond this.
constexpr double kMostLatent = 1e4;

/// Statistics of the finite values seen, in fp64.
struct Range {
  double sum = 0, squares = 0, low = std::numeric_limits<double>::infinity(), high = -low;
  int64_t count = 0;

  /// Returns the number of values that are not finite; those are left out.
  int64_t add(const at::Tensor& values) {
    const float* value = values.const_data_ptr<float>();
    const int64_t all = values.numel();
    int64_t finite = 0;
    double part = 0, part_squares = 0;
    float least = std::numeric_limits<float>::infinity(), most = -least;
    for (int64_t i = 0; i < all; ++i) {
      if (!std::isfinite(value[i])) continue;
      const double wide = value[i];
      part += wide;
      part_squares += wide * wide;
      least = std::min(least, value[i]);
      most = std::max(most, value[i]);
      ++finite;
    }
    sum += part;
    squares += part_squares;
    low = std::min<double>(low, least);
    high = std::max<double>(high, most);
    count += finite;
    return all - finite;
  }
  void add(const Range& other) {
    sum += other.sum;
    squares += other.squares;
    low = std::min(low, other.low);
    high = std::max(high, other.high);
    count += other.count;
  }
  double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
  double deviation() const {
    if (count == 0) return 0;
    return std::sqrt(std::max(0.0, squares / static_cast<double>(count) - mean() * mean()));
  }
};

/// Of everything in a dataset; count is 0 of what it does not have.
struct Ranges {
  Range latents, ode, text;
};

/// "F, C, H, W".
std::string sizes(const LatentInfo& info) {
  std::string text;
  for (const int64_t size : info.clip_shape) {
    text += formatted("{}{}", text.empty() ? "" : ", ", size);
  }
  return text;
}

/// Lines of the page, each with its line break.
std::string arrays_text(const LatentDataset& dataset) {
  const LatentInfo& info = dataset.info();
  if (!info.has_latents) return "";
  std::string text;
  for (const Bucket& bucket : dataset.buckets()) {
    text += formatted("latents [n, F, C, H, W]: [{}, {}], bfloat16\n",
                      clip_count(bucket),
                      sizes(dataset.info(bucket.front().first)));
  }
  if (info.ode_times.empty()) return text;
  text += formatted("ODE states [n, states, F, C, H, W]: [{}, {}, {}], {}, at timesteps",
                    dataset.size(),
                    info.ode_times.size(),
                    sizes(info),
                    info.ode_fp32 ? "float32" : "bfloat16");
  for (const double time : info.ode_times) text += formatted(" {:.4g}", time);
  return text + "\n";
}

std::string origin_text(const LatentInfo& info) {
  std::string text;
  if (info.codec.empty()) {
    text += "the prompts name no codec and no size of clips\n";
  } else {
    if (!info.has_latents) {
      text += info.clip_shape.empty()
                  ? "for clips, none of them here\n"
                  : formatted("for clips [F, C, H, W]: [{}], none of them here\n", sizes(info));
    }
    text += formatted("pixels: {} frames of {}x{} at {:.4g} a second\n",
                      info.pixel_frames,
                      info.pixel_height,
                      info.pixel_width,
                      info.fps);
    text += formatted("codec: {} ({})\n",
                      io::printable(info.codec),
                      io::printable(info.codec_hash.substr(0, 12)));
  }
  text += formatted("text: {} ({}), {} wide\n",
                    io::printable(info.text_encoder),
                    io::printable(info.text_encoder_hash.substr(0, 12)),
                    info.text_dim);
  if (!info.scene.empty()) text += formatted("scene: {}\n", io::printable(info.scene));
  if (!info.origin.empty()) text += formatted("origin: {}\n", io::printable(info.origin));
  return text;
}

std::string range_text(const char* name, const Range& range) {
  return formatted("{}: mean {:.4g}, deviation {:.4g}, from {:.4g} to {:.4g}\n",
                   name,
                   range.mean(),
                   range.deviation(),
                   range.low,
                   range.high);
}

std::string findings_text(const DatasetInspection& found) {
  std::string text = formatted("captions: {} different\n", found.captions.size());
  for (size_t i = 0; i < std::min(found.captions.size(), kCaptionsShown); ++i) {
    const auto& [caption, count] = found.captions[i];
    text += formatted("  {}  {}\n", count, io::printable(caption));
  }
  if (found.captions.size() > kCaptionsShown) {
    text += formatted("  ... and {} more\n", found.captions.size() - kCaptionsShown);
  }
  for (size_t i = 0; i < std::min(found.problems.size(), kProblemsShown); ++i) {
    text += found.problems[i] + "\n";
  }
  if (found.problems.size() > kProblemsShown) {
    text += formatted("... and {} more problems\n", found.problems.size() - kProblemsShown);
  }
  return text;
}

/// How much was read, and what would have shown bytes that are not those written.
std::string coverage_text(const LatentDataset& dataset, const DatasetInspection& found) {
  const char* of_clips =
      dataset.has_digests() ? "each compared with its digest"
                            : "without digests that would show changed bytes: the file is older or "
                              "of another program";
  return formatted("read: {} of {} {}, {}\n",
                   found.clips_read,
                   found.clips,
                   dataset.has_latents() ? "clips" : "prompts",
                   of_clips);
}

std::string page(const std::string& name,
                 const LatentDataset& dataset,
                 const Ranges& ranges,
                 const DatasetInspection& found) {
  const LatentInfo& info = dataset.info();
  std::string text =
      formatted("{}: {} {}\n", name, found.clips, info.has_latents ? "clips" : "prompts");
  text += arrays_text(dataset) + origin_text(info);
  if (ranges.latents.count > 0) text += range_text("latents", ranges.latents);
  if (ranges.ode.count > 0) text += range_text("ODE states", ranges.ode);
  if (ranges.text.count > 0) text += range_text("text embeddings", ranges.text);
  for (const std::string& problem : scale_problems(dataset))
    text += formatted("warning: {}\n", problem);
  return text + findings_text(found) + coverage_text(dataset, found);
}

/// What is wrong with the numbers of one kind of a clip, or nothing: "2 latents are NaN or
/// infinite", "latents reach 3e+38, which no codec gives".
std::string problem_of(const char* name, const at::Tensor& values, Range& range, bool encoded) {
  Range own;
  const int64_t bad = own.add(values);
  range.add(own);
  if (bad > 0) return formatted("{} {} are NaN or infinite", bad, name);
  const double most = std::max(std::abs(own.low), std::abs(own.high));
  if (!encoded || most <= kMostLatent) return "";
  return formatted("{} reach {:.3g}, which no codec gives", name, most);
}

/// "clip 3 (v.mp4): 2 latents are NaN or infinite", or nothing if all is well.
std::optional<std::string> problem_of(const LatentDataset& dataset, int64_t clip, Ranges& ranges) {
  const std::string source = io::printable(dataset.record(clip).source_file);
  const std::string name = dataset.has_latents() ? formatted("clip {} ({})", clip, source)
                                                 : formatted("prompt {}", clip);
  std::string problem;
  const auto add = [&](const std::string& more) {
    if (!more.empty()) problem += (problem.empty() ? "" : ", ") + more;
  };
  try {
    if (dataset.has_latents()) {
      add(problem_of("latents", dataset.latents(clip), ranges.latents, true));
    }
    if (dataset.has_ode()) {
      add(problem_of("ODE values", dataset.ode_states(clip), ranges.ode, true));
    }
    add(problem_of("text values", dataset.text(clip), ranges.text, false));
  } catch (const UserError& damage) {
    add(damage.what());
  }
  if (problem.empty()) return std::nullopt;
  return name + ": " + problem;
}

/// How many clips to look at.
int64_t clips_to_read(const LatentDataset& dataset, bool full) {
  int64_t bytes = dataset.max_text_rows() * dataset.info().text_dim * 4;
  if (dataset.has_latents()) {
    const auto clip = static_cast<int64_t>(block_bytes(dataset.info().clip_shape, false));
    const auto states = static_cast<int64_t>(dataset.info().ode_times.size());
    bytes += clip * (1 + states * (dataset.info().ode_fp32 ? 2 : 1));
  }
  const int64_t affordable = std::max(kLeastClipsRead, kBytesRead / std::max<int64_t>(bytes, 1));
  return full ? dataset.size() : std::min(dataset.size(), affordable);
}

}  // namespace

DatasetInspection inspect_dataset(const LatentDataset& dataset,
                                  const std::string& name,
                                  bool full) {
  DatasetInspection found;
  found.clips = dataset.size();
  found.clips_read = clips_to_read(dataset, full);
  Ranges ranges;
  for (int64_t i = 0; i < found.clips_read; ++i) {
    // The first, the last and others evenly between.
    const int64_t clip = found.clips_read == 1 ? 0 : i * (found.clips - 1) / (found.clips_read - 1);
    if (auto problem = problem_of(dataset, clip, ranges)) {
      found.problems.push_back(std::move(*problem));
    }
  }
  std::unordered_map<std::string_view, int64_t> captions;
  for (int64_t i = 0; i < dataset.size(); ++i) ++captions[dataset.caption(i)];
  found.latent_mean = ranges.latents.mean();
  found.latent_std = ranges.latents.deviation();
  found.latent_min = ranges.latents.low;
  found.latent_max = ranges.latents.high;
  found.captions.assign(captions.begin(), captions.end());
  std::sort(found.captions.begin(), found.captions.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  found.text = page(name, dataset, ranges, found);
  found.verdict =
      found.clips_read == found.clips ? "sound\n" : "sound as far as read; --full reads all\n";
  return found;
}

at::Tensor contact_sheet(const LatentDataset& dataset,
                         const std::string& name,
                         const model::CodecOptions& options,
                         int64_t most) {
  if (!dataset.has_latents()) fail_user("{}: a prompt set has no pictures", name);
  const auto codec = model::make_video_codec(dataset.info().codec, options);
  if (codec->hash() != dataset.info().codec_hash) {
    fail_user(
        "{}: was made with another {} (hash {}, this program's is {}); make the dataset again",
        name,
        codec->name(),
        dataset.info().codec_hash.substr(0, 12),
        codec->hash().substr(0, 12));
  }
  int64_t height = 0, width = 0;  // of the largest picture
  for (const Bucket& bucket : dataset.buckets()) {
    const LatentInfo& info = dataset.info(bucket.front().first);
    const int64_t factor_of_codec = codec->spatial_factor();
    if (info.clip_shape[1] != codec->latent_channels() ||
        info.clip_shape[2] * factor_of_codec != info.pixel_height ||
        info.clip_shape[3] * factor_of_codec != info.pixel_width) {
      fail_user("{}: its clips [{}] are not what {} makes of pictures of {}x{}",
                name,
                sizes(info),
                codec->name(),
                info.pixel_height,
                info.pixel_width);
    }
    height = std::max(height, info.pixel_height);
    width = std::max(width, info.pixel_width);
  }
  const int64_t clips = std::min(most, dataset.size());
  const auto columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(clips))));
  const int64_t rows = (clips + columns - 1) / columns;
  // Tiny pictures are enlarged by a whole factor, so that something can be seen.
  const int64_t factor = std::max<int64_t>(1, 96 / std::max(height, width));
  constexpr int64_t kGap = 4;  // grey pixels around each
  at::Tensor sheet = at::full(
      {rows * (height * factor + kGap) + kGap, columns * (width * factor + kGap) + kGap, 3},
      96,
      at::kByte);
  for (int64_t i = 0; i < clips; ++i) {
    const at::Tensor first = codec->decode(dataset.latents(i).narrow(0, 0, 1))[0];  // [3, H, W]
    const at::Tensor bytes =
        first.clamp(-1, 1).add(1).mul(127.5).round().to(at::kByte).permute({1, 2, 0});
    const at::Tensor picture = bytes.repeat_interleave(factor, 0).repeat_interleave(factor, 1);
    sheet.narrow(0, kGap + i / columns * (height * factor + kGap), picture.size(0))
        .narrow(1, kGap + i % columns * (width * factor + kGap), picture.size(1))
        .copy_(picture);
  }
  return sheet;
}

}  // namespace vmla::data
