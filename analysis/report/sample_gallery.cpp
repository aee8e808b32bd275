#include "analysis/report/sample_gallery.h"

#include <ATen/ATen.h>

#include <memory>
#include <optional>

#include "analysis/page/html_text.h"
#include "analysis/page/short_number.h"
#include "analysis/runs/readable_text.h"
#include "analysis/video/caption_adherence.h"
#include "analysis/video/mosaic_ground_reader.h"
#include "data/video/decoder_process.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

constexpr int64_t kReadSide = 32;    // the readers are calibrated at 16 and 32 pixels
constexpr int64_t kMostFrames = 64;  // enough to tell what moves where
constexpr double kUsualFps = 8;      // where samples.json does not say

// A clip as read_shape takes it, [F, 3, kReadSide, kReadSide], fp32 in [-1, 1]; nothing when it
// cannot be decoded or has fewer than two frames.
std::optional<at::Tensor> decode(data::DecoderProcess& decoder, const SampleClip& clip) {
  data::ReadOptions options;
  options.height = options.width = kReadSide;
  options.fps = clip.fps > 0 ? clip.fps : kUsualFps;
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

// What the clip shows, ticked where its prompt asks for it and a shape is there; "" where that
// cannot be told.
std::string adherence_line(data::DecoderProcess* decoder,
                           const SampleClip& clip,
                           const std::optional<data::MosaicConfig>& mosaic) {
  if (decoder == nullptr || !data::parse_caption(clip.prompt)) return "";
  std::optional<at::Tensor> pixels;
  try {
    pixels = decode(*decoder, clip);
  } catch (const std::exception&) {
    return "";  // a page without ticks is better than no page
  }
  if (!pixels) return "";
  const std::optional<ClipAdherence> read =
      check_caption({mosaic ? without_ground(*pixels, *mosaic) : *pixels, clip.prompt});
  if (!read) return "";
  const auto name = [](const auto& names, int index) {
    return names.at(static_cast<size_t>(index));
  };
  if (!read->present()) {
    return formatted(
        R"(<span class="ticks">{}</span>)",
        verdict_mark(false,
                     read->presence.frames > 0 ? formatted("a shape in {:.0f} % of the frames only",
                                                           100 * read->presence.frames)
                                               : "no shape is there"));
  }
  return formatted(
      R"(<span class="ticks">{} {} {}</span>)",
      verdict_mark(read->colour(), name(data::kColourNames, read->shown.colour)),
      verdict_mark(read->shape(), name(data::kShapeNames, read->shown.shape)),
      verdict_mark(read->direction(), name(data::kDirectionNames, read->shown.direction)));
}

// The process that decodes videos, or nullptr where the program was built without it.
std::unique_ptr<data::DecoderProcess> find_decoder() {
  try {
    return std::make_unique<data::DecoderProcess>(data::find_decoder_program());
  } catch (const RunError&) {
    return nullptr;
  }
}

std::string video_tag(const SampleClip& clip) {
  return formatted(
      R"(<video controls autoplay loop muted playsinline src="data:video/mp4;base64,{}"></video>)",
      base64(readable_text(clip.file).value_or("")));
}

std::string length_line(const SampleClip& clip) {
  if (clip.frames <= 0) return "";
  const std::string seconds =
      clip.fps > 0 ? formatted(", {} s", short_number(static_cast<double>(clip.frames) / clip.fps))
                   : "";
  return formatted(R"(<span class="ticks">{} frames{}</span>)", clip.frames, seconds);
}

}  // namespace

std::string sample_gallery(const std::vector<SampleClip>& clips,
                           int64_t most_bytes,
                           const std::optional<data::MosaicConfig>& mosaic) {
  const std::unique_ptr<data::DecoderProcess> decoder = find_decoder();
  std::string out = R"(<div class="clips">)";
  int64_t embedded = 0, left_out = 0;
  for (const SampleClip& clip : clips) {
    std::error_code error;
    const auto bytes = static_cast<int64_t>(std::filesystem::file_size(clip.file, error));
    if (error || clip.file.extension() != ".mp4" || embedded + bytes > most_bytes) {
      ++left_out;
      continue;
    }
    embedded += bytes;
    out += formatted("<figure>{}<figcaption>{}{}{}</figcaption></figure>\n",
                     video_tag(clip),
                     escape_html(clip.prompt.empty() ? clip.file.filename().string() : clip.prompt),
                     adherence_line(decoder.get(), clip, mosaic),
                     length_line(clip));
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
