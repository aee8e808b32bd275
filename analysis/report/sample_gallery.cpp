#include "analysis/report/sample_gallery.h"

#include <ATen/ATen.h>

#include <fstream>
#include <memory>
#include <optional>
#include <sstream>

#include "analysis/page/html_text.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_plot.h"
#include "analysis/video/caption_adherence.h"
#include "data/video/decoder_process.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr int64_t kReadSide = 32;  // the readers are calibrated at 16 and 32 pixels
constexpr int64_t kMostFrames = 64;

// Decodes a clip for the reader; nothing when it has no frames or no decoder is there.
std::optional<at::Tensor> decode(data::DecoderProcess& decoder, const SampleClip& clip) {
  data::ReadOptions options;
  options.height = options.width = kReadSide;
  options.fps = clip.fps > 0 ? clip.fps : 8;
  options.max_frames = kMostFrames;
  std::vector<at::Tensor> frames;
  const auto outcome = decoder.read(clip.file, options, [&](int64_t, const uint8_t* rgb) {
    at::Tensor frame = at::empty({kReadSide, kReadSide, 3}, at::kByte);
    std::copy(rgb, rgb + kReadSide * kReadSide * 3, frame.data_ptr<uint8_t>());
    frames.push_back(frame.permute({2, 0, 1}).to(at::kFloat).div(127.5).sub(1));
    return true;
  });
  if (!outcome.problem.empty() || frames.size() < 2) return std::nullopt;
  return at::stack(frames);
}

std::string tick(bool right, std::string_view shown) {
  return formatted(
      "<span class=\"{}\">{}{}</span>", right ? "yes" : "no", right ? "✓ " : "✗ ", shown);
}

std::string adherence_line(data::DecoderProcess* decoder, const SampleClip& clip) {
  if (decoder == nullptr || !data::parse_caption(clip.prompt)) return "";
  std::optional<at::Tensor> pixels;
  try {
    pixels = decode(*decoder, clip);
  } catch (const std::exception&) {
    return "";  // a page without ticks is better than no page
  }
  if (!pixels) return "";
  const std::optional<ClipAdherence> read = check_caption({*pixels, clip.prompt});
  if (!read) return "";
  const auto name = [](const auto& names, int index) {
    return names.at(static_cast<size_t>(index));
  };
  return "<span class=\"ticks\">" +
         tick(read->colour(), name(data::kColourNames, read->shown.colour)) + " " +
         tick(read->shape(), name(data::kShapeNames, read->shown.shape)) + " " +
         tick(read->direction(), name(data::kDirectionNames, read->shown.direction)) + "</span>";
}

std::unique_ptr<data::DecoderProcess> find_decoder() {
  try {
    return std::make_unique<data::DecoderProcess>(data::find_decoder_program());
  } catch (const RunError&) {
    return nullptr;  // built without video support
  }
}

std::string file_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

std::string video_tag(const SampleClip& clip) {
  return "<video autoplay loop muted playsinline src=\"data:video/mp4;base64," +
         base64(file_bytes(clip.file)) + "\"></video>";
}

std::string details_of(const SampleClip& clip) {
  if (clip.frames <= 0) return "";
  return formatted(
      "<span class=\"ticks\">{} frames{}</span>",
      clip.frames,
      clip.fps > 0 ? ", " + short_number(static_cast<double>(clip.frames) / clip.fps) + " s" : "");
}

}  // namespace

std::string sample_gallery(const std::vector<SampleClip>& clips, int64_t most_bytes) {
  const std::unique_ptr<data::DecoderProcess> decoder = find_decoder();
  std::string out = "<div class=\"clips\">";
  int64_t embedded = 0, left_out = 0;
  for (const SampleClip& clip : clips) {
    std::error_code error;
    const auto bytes = static_cast<int64_t>(std::filesystem::file_size(clip.file, error));
    if (error || clip.file.extension() != ".mp4" || embedded + bytes > most_bytes) {
      ++left_out;
      continue;
    }
    embedded += bytes;
    out += "<figure>" + video_tag(clip) + "<figcaption>" +
           escape_html(clip.prompt.empty() ? clip.file.filename().string() : clip.prompt) +
           adherence_line(decoder.get(), clip) + details_of(clip) + "</figcaption></figure>\n";
  }
  out += "</div>";
  if (left_out > 0) {
    out +=
        absence(formatted("{} more in {} are not shown here (too large for one page, or not mp4, "
                          "which browsers play).",
                          left_out,
                          clips.front().file.parent_path().string()));
  }
  return out;
}

}  // namespace vmla::analysis
