#include "data/inspect/inspect_dataset.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "data/inspect/png_writer.h"
#include "data/store/latent_dataset.h"
#include "model/codec/video_codec.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

constexpr size_t kCaptionsShown = 20;
constexpr size_t kProblemsShown = 10;

/// Statistics of all finite values seen, in fp64.
struct Range {
  double sum = 0, squares = 0, low = std::numeric_limits<double>::infinity(), high = -low;
  int64_t count = 0;

  /// Returns the number of values that are not finite; those are left out.
  int64_t add(const at::Tensor& values) {
    const at::Tensor finite = values.masked_select(at::isfinite(values)).to(at::kDouble);
    if (finite.numel() > 0) {
      sum += finite.sum().item<double>();
      squares += finite.square().sum().item<double>();
      low = std::min(low, finite.min().item<double>());
      high = std::max(high, finite.max().item<double>());
      count += finite.numel();
    }
    return values.numel() - finite.numel();
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
std::string arrays_text(const LatentInfo& info, int64_t clips) {
  if (!info.has_latents) return "";
  std::string text = formatted("latents [n, F, C, H, W]: [{}, {}], bfloat16\n", clips, sizes(info));
  if (info.ode_times.empty()) return text;
  text += formatted("ODE states [n, states, F, C, H, W]: [{}, {}, {}], {}, at timesteps",
                    clips,
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
    text += formatted("codec: {} ({})\n", info.codec, info.codec_hash.substr(0, 12));
  }
  text += formatted("text: {} ({}), {} wide\n",
                    info.text_encoder,
                    info.text_encoder_hash.substr(0, 12),
                    info.text_dim);
  if (!info.origin.empty()) text += formatted("origin: {}\n", info.origin);
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
    text += formatted("  {}  {}\n", count, caption);
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
  return found.problems.empty() ? text + "sound\n" : text;
}

std::string page(const std::filesystem::path& path,
                 const LatentInfo& info,
                 const Ranges& ranges,
                 const DatasetInspection& found) {
  std::string text =
      formatted("{}: {} {}\n", path.string(), found.clips, info.has_latents ? "clips" : "prompts");
  text += arrays_text(info, found.clips) + origin_text(info);
  if (ranges.latents.count > 0) text += range_text("latents", ranges.latents);
  if (ranges.ode.count > 0) text += range_text("ODE states", ranges.ode);
  return text + range_text("text embeddings", ranges.text) + findings_text(found);
}

/// "clip 3 (v.mp4): 2 latents and 1 text values are NaN or infinite", or nothing if all are finite.
std::optional<std::string> problem_of(const LatentDataset& dataset, int64_t clip, Ranges& ranges) {
  const int64_t bad_latents = dataset.has_latents() ? ranges.latents.add(dataset.latents(clip)) : 0;
  const int64_t bad_ode = dataset.has_ode() ? ranges.ode.add(dataset.ode_states(clip)) : 0;
  const int64_t bad_text = ranges.text.add(dataset.text(clip));
  if (bad_latents + bad_ode + bad_text == 0) return std::nullopt;
  if (!dataset.has_latents()) {
    return formatted("prompt {}: {} text values are NaN or infinite", clip, bad_text);
  }
  return formatted("clip {} ({}): {} latents and {}{} text values are NaN or infinite",
                   clip,
                   dataset.record(clip).source_file,
                   bad_latents,
                   dataset.has_ode() ? formatted("{} ODE values and ", bad_ode) : "",
                   bad_text);
}

}  // namespace

DatasetInspection inspect_dataset(const std::filesystem::path& path) {
  const LatentDataset dataset(path);
  DatasetInspection found;
  found.clips = dataset.size();
  Ranges ranges;
  std::map<std::string, int64_t> captions;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    if (auto problem = problem_of(dataset, i, ranges)) {
      found.problems.push_back(std::move(*problem));
    }
    ++captions[dataset.caption(i)];
  }
  found.latent_mean = ranges.latents.mean();
  found.latent_std = ranges.latents.deviation();
  found.latent_min = ranges.latents.low;
  found.latent_max = ranges.latents.high;
  found.captions.assign(captions.begin(), captions.end());
  std::stable_sort(found.captions.begin(), found.captions.end(), [](const auto& a, const auto& b) {
    return a.second > b.second;
  });
  found.text = page(path, dataset.info(), ranges, found);
  return found;
}

void write_contact_sheet(const std::filesystem::path& path,
                         const std::filesystem::path& png,
                         int64_t most) {
  const LatentDataset dataset(path);
  if (!dataset.has_latents()) fail_user("{}: a prompt set has no pictures", path.string());
  const auto codec = model::make_video_codec(dataset.info().codec);
  if (codec->hash() != dataset.info().codec_hash) {
    fail_user(
        "{}: was made with another {} (hash {}, this program's is {}); make the dataset again",
        path.string(),
        codec->name(),
        dataset.info().codec_hash.substr(0, 12),
        codec->hash().substr(0, 12));
  }
  const int64_t clips = std::min(most, dataset.size());
  const auto columns = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(clips))));
  const int64_t rows = (clips + columns - 1) / columns;
  // Tiny pictures are enlarged by a whole factor, so that something can be seen.
  const int64_t height = dataset.info().pixel_height, width = dataset.info().pixel_width;
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
    sheet.narrow(0, kGap + i / columns * (height * factor + kGap), height * factor)
        .narrow(1, kGap + i % columns * (width * factor + kGap), width * factor)
        .copy_(bytes.repeat_interleave(factor, 0).repeat_interleave(factor, 1));
  }
  write_png(png, sheet);
}

}  // namespace vmla::data
