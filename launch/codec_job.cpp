#include "launch/codec_job.h"

#include "model/formats/safetensors.h"
#include "model/io/error.h"
#include "trainer/compute_device.h"

#include <ATen/ATen.h>

namespace vmla::launch {

std::unique_ptr<model::VideoCodec> open_codec(const CodecArgs& args, bool encodes) {
  trainer::prepare_device(args.device, "--device");
  return model::make_video_codec(args.codec,
                                 {.weights = args.weights,
                                  .precision = args.precision,
                                  .device = args.device,
                                  .tile = args.tile,
                                  .encodes = encodes,
                                  .decodes = !encodes,
                                  .weights_option = "--weights"});
}

at::Tensor read_videos(const std::string& path, const char* name, int64_t axis, int64_t channels) {
  const model::SafetensorsFile file = model::read_safetensors(path);
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) fail_user("{}: tensor '{}' is missing", path, name);
  const at::Tensor& videos = found->second;
  if (videos.scalar_type() != at::kFloat || videos.dim() != 5) {
    fail_user("{}: tensor '{}' must be F32 with 5 dimensions, found {} with {}",
              path,
              name,
              at::toString(videos.scalar_type()),
              videos.dim());
  }
  if (videos.numel() == 0 || videos.size(axis) != channels) {
    fail_user("{}: tensor '{}' is {}; dimension {} must be {}, and none 0",
              path,
              name,
              videos.sizes(),
              axis,
              channels);
  }
  if (!videos.isfinite().all().item<bool>()) {
    fail_user("{}: tensor '{}' holds NaN or infinity", path, name);
  }
  return videos;
}

}  // namespace vmla::launch
