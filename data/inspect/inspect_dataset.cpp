#include "data/inspect/inspect_dataset.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <map>
#include <sstream>

#include "data/inspect/png_writer.h"
#include "data/store/latent_dataset.h"
#include "model/codec/video_codec.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

constexpr size_t kCaptionsShown = 20;
constexpr size_t kProblemsShown = 10;

/// Sums over everything seen, in fp64.
struct Range {
  double sum = 0, squares = 0, low = std::numeric_limits<double>::infinity(), high = -low;
  int64_t count = 0;

  /// Number of values that are not finite; those are left out.
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
    return count > 0
               ? std::sqrt(std::max(0.0, squares / static_cast<double>(count) - mean() * mean()))
               : 0;
  }
};

void describe(std::ostringstream& out, const char* name, const Range& range) {
  out << name << ": mean " << range.mean() << ", deviation " << range.deviation() << ", from "
      << range.low << " to " << range.high << '\n';
}

/// "F, C, H, W".
std::string sizes(const LatentInfo& info) {
  std::string text;
  for (const int64_t size : info.clip_shape)
    text += formatted("{}{}", text.empty() ? "" : ", ", size);
  return text;
}

std::string page(const std::filesystem::path& path,
                 const LatentInfo& info,
                 const DatasetInspection& found,
                 const Range& latents,
                 const Range& ode,
                 const Range& text) {
  std::ostringstream out;
  out << std::setprecision(4);
  out << path.string() << ": " << found.clips << (info.has_latents ? " clips" : " prompts") << '\n';
  if (info.has_latents) {
    out << "latents [n, F, C, H, W]: [" << found.clips << ", " << sizes(info) << "], bfloat16\n";
  }
  if (!info.ode_times.empty()) {
    out << "ODE states [n, states, F, C, H, W]: [" << found.clips << ", " << info.ode_times.size()
        << ", " << sizes(info) << "], " << (info.ode_fp32 ? "float32" : "bfloat16")
        << ", at timesteps";
    for (const double time : info.ode_times) out << ' ' << time;
    out << '\n';
  }
  if (info.codec.empty()) {
    out << "the prompts name no codec and no size of clips\n";
  } else {
    if (!info.has_latents) {
      out << "for clips";
      if (!info.clip_shape.empty()) out << " [F, C, H, W]: [" << sizes(info) << "]";
      out << ", none of them here\n";
    }
    out << "pixels: " << info.pixel_frames << " frames of " << info.pixel_height << "x"
        << info.pixel_width << " at " << info.fps << " a second\n";
    out << "codec: " << info.codec << " (" << info.codec_hash.substr(0, 12) << ")\n";
  }
  out << "text: " << info.text_encoder << " (" << info.text_encoder_hash.substr(0, 12) << "), "
      << info.text_dim << " wide\n";
  if (!info.origin.empty()) out << "origin: " << info.origin << '\n';
  if (latents.count > 0) describe(out, "latents", latents);
  if (ode.count > 0) describe(out, "ODE states", ode);
  describe(out, "text embeddings", text);
  out << "captions: " << found.captions.size() << " different\n";
  for (size_t i = 0; i < std::min(found.captions.size(), kCaptionsShown); ++i) {
    out << "  " << found.captions[i].second << "  " << found.captions[i].first << '\n';
  }
  if (found.captions.size() > kCaptionsShown)
    out << "  ... and " << found.captions.size() - kCaptionsShown << " more\n";
  for (size_t i = 0; i < std::min(found.problems.size(), kProblemsShown); ++i)
    out << found.problems[i] << '\n';
  if (found.problems.size() > kProblemsShown) {
    out << "... and " << found.problems.size() - kProblemsShown << " more problems\n";
  }
  out << (found.problems.empty() ? "sound\n" : "");
  return out.str();
}

}  // namespace

DatasetInspection inspect_dataset(const std::filesystem::path& path) {
  const LatentDataset dataset(path);
  DatasetInspection found;
  found.clips = dataset.size();
  Range latents, ode, text;
  std::map<std::string, int64_t> captions;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const int64_t bad_latents = dataset.has_latents() ? latents.add(dataset.latents(i)) : 0;
    const int64_t bad_ode = dataset.has_ode() ? ode.add(dataset.ode_states(i)) : 0;
    const int64_t bad_text = text.add(dataset.text(i));
    if (bad_latents + bad_ode + bad_text > 0) {
      found.problems.push_back(formatted(
          "{}{}{} text values are NaN or infinite",
          dataset.has_latents()
              ? formatted(
                    "clip {} ({}): {} latents and ", i, dataset.record(i).source_file, bad_latents)
              : formatted("prompt {}: ", i),
          dataset.has_ode() ? formatted("{} ODE values and ", bad_ode) : "",
          bad_text));
    }
    ++captions[dataset.caption(i)];
  }
  found.latent_mean = latents.mean();
  found.latent_std = latents.deviation();
  found.latent_min = latents.low;
  found.latent_max = latents.high;
  found.captions.assign(captions.begin(), captions.end());
  std::stable_sort(found.captions.begin(), found.captions.end(), [](const auto& a, const auto& b) {
    return a.second > b.second;
  });
  found.text = page(path, dataset.info(), found, latents, ode, text);
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
  // Tiny pictures are enlarged by a whole factor, to be seen at all.
  const int64_t height = dataset.info().pixel_height, width = dataset.info().pixel_width;
  const int64_t factor = std::max<int64_t>(1, 96 / std::max(height, width));
  constexpr int64_t kGap = 4;
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
  write_png(png, sheet.const_data_ptr<uint8_t>(), sheet.size(0), sheet.size(1));
}

}  // namespace vmla::data
