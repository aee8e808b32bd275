#include "tests/analysis/real_clips.h"

#include <ATen/ATen.h>
#include <filesystem>

#include "data/video/decoder_process.h"
#include "data/video/video_writer.h"
#include "tests/support/temporary_folder.h"

namespace vmla::analysis {
namespace {

constexpr int64_t kFileSide = 128;
constexpr double kFps = 8;

at::Tensor read_clip(data::DecoderProcess& decoder,
                     const std::filesystem::path& video,
                     int64_t side) {
  at::Tensor clip = at::empty({kRealFrames, side, side, 3}, at::kByte);
  data::ReadOptions options;
  options.height = options.width = side;
  options.fps = kFps;
  options.max_frames = kRealFrames;
  const data::ReadOutcome outcome =
      decoder.read(video, options, [&](int64_t index, const uint8_t* rgb) {
        std::copy(rgb, rgb + side * side * 3, clip[index].data_ptr<uint8_t>());
        return true;
      });
  TORCH_CHECK(outcome.frames == kRealFrames, video.string(), ": ", outcome.problem);
  return clip.permute({0, 3, 1, 2}).to(at::kFloat).div(127.5).sub(1);
}

RealClips make_clips(bool held_out, int64_t count) {
  const TemporaryFolder folder;
  const std::filesystem::path video =
      folder / (std::string("clip") + data::default_video_extension());
  const auto writer_process = data::start_video_process();
  data::DecoderProcess decoder(data::find_decoder_program());
  RealClips clips;
  std::vector<at::Tensor> small, large;
  for (int64_t i = 0; i < count; ++i) {
    clips.specs.push_back(data::draw_clip(17, static_cast<uint64_t>(i), held_out, 9));
    at::Tensor frames = at::empty({kRealFrames, kFileSide, kFileSide, 3}, at::kByte);
    for (int64_t f = 0; f < kRealFrames; ++f) {
      data::render_frame(clips.specs.back(), f, kFileSide, frames[f].data_ptr<uint8_t>());
    }
    data::VideoWriter writer(video, kFps, writer_process);
    writer.append(frames.permute({0, 3, 1, 2}));
    writer.close();
    small.push_back(read_clip(decoder, video, 16));
    large.push_back(read_clip(decoder, video, 32));
  }
  clips.side16 = at::stack(small);
  clips.side32 = at::stack(large);
  return clips;
}

}  // namespace

const RealClips& training_clips() {
  static const RealClips clips = make_clips(false, 120);
  return clips;
}

const RealClips& held_out_clips() {
  static const RealClips clips = make_clips(true, 96);
  return clips;
}

}  // namespace vmla::analysis
