#include "launch/codec_job.h"

#include "launch/input_tensor.h"
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
  const at::Tensor videos = input_tensor(file, path, name, 5);
  if (videos.numel() == 0 || videos.size(axis) != channels) {
    fail_user("{}: tensor '{}' is {}; dimension {} must be {}, and none 0",
              path,
              name,
              videos.sizes(),
              axis,
              channels);
  }
  return videos;
}

}  // namespace vmla::launch
