#include "launch/commands/vae_encode.h"

#include "launch/codec_job.h"
#include "model/formats/safetensors.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

#include <ATen/ATen.h>

namespace vmla::launch {
namespace {

/// Pixels are in [-1, 1]; rounding may exceed it by a little. Others are most likely 0 to 255.
void check_range(const at::Tensor& pixels, const std::string& path) {
  const auto [least, most] = at::aminmax(pixels);
  if (least.item<double>() >= -1.01 && most.item<double>() <= 1.01) return;
  fail_user("{}: tensor 'pixels' must lie in [-1, 1], found {:g} to {:g}",
            path,
            least.item<double>(),
            most.item<double>());
}

}  // namespace

int run(const VaeEncodeArgs& args) {
  const at::Tensor pixels_B3FHW = read_videos(args.input, "pixels", /*axis=*/1, /*channels=*/3);
  check_range(pixels_B3FHW, args.input);
  const auto codec = open_codec(args, /*encodes=*/true);
  std::vector<at::Tensor> latents;
  for (const at::Tensor& pixels_3FHW : pixels_B3FHW.unbind(0)) {
    latents.push_back(codec->encode(pixels_3FHW.transpose(0, 1)));
  }
  const at::Tensor latents_BFCHW = at::stack(latents);
  model::write_safetensors(args.output, {{"latents", latents_BFCHW}});
  log::info("wrote {}: latents {}", args.output, latents_BFCHW.sizes());
  return kDone;
}

}  // namespace vmla::launch
