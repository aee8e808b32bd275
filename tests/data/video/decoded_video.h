#pragma once

#include <ATen/ATen.h>

#include <set>
#include <string>
#include <vector>

#include "data/synth/moving_shapes.h"
#include "data/video/decoder_process.h"
#include "data/video/video_writer.h"
#include "model/io/error.h"

namespace vmla::data {

struct Decoded {
  ReadOutcome outcome;
  at::Tensor frames;  // [F, 3, H, W] in [-1, 1]
};

inline Decoded decode(const std::filesystem::path& video, const ReadOptions& options) {
  DecoderProcess decoder(find_decoder_program());
  std::vector<at::Tensor> frames;
  Decoded out;
  out.outcome = decoder.read(video, options, [&](int64_t, const uint8_t* rgb) {
    frames.push_back(
        at::from_blob(const_cast<uint8_t*>(rgb), {options.height, options.width, 3}, at::kByte)
            .to(at::kFloat));
    return true;
  });
  if (!frames.empty()) out.frames = at::stack(frames).permute({0, 3, 1, 2}).div(127.5).sub(1.0);
  return out;
}

inline at::Tensor shape_clip(int64_t frames, int64_t side) {
  return render_clips({draw_clip(5, 3, false, frames)}, frames, side)[0];
}

/// `stem` as the uncompressed video that every build writes, and as what this build writes best.
inline std::set<std::string> video_names(const std::string& stem) {
  return {stem + ".y4m", stem + default_video_extension()};
}

}  // namespace vmla::data
