#include "launch/commands/vae_decode.h"

#include "launch/codec_job.h"
#include "model/formats/safetensors.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

#include <ATen/ATen.h>

namespace vmla::launch {

int run(const VaeDecodeArgs& args) {
  const auto codec = open_codec(args, /*encodes=*/false);
  const at::Tensor latents_BFCHW =
      read_videos(args.input, "latents", /*axis=*/2, codec->latent_channels());
  std::vector<at::Tensor> pixels;
  for (const at::Tensor& latents_FCHW : latents_BFCHW.unbind(0)) {
    pixels.push_back(codec->decode(latents_FCHW).transpose(0, 1));
  }
  const at::Tensor pixels_B3FHW = at::stack(pixels);
  model::write_safetensors(args.output, {{"pixels", pixels_B3FHW}});
  log::info("wrote {}: pixels {}", args.output, pixels_B3FHW.sizes());
  return kDone;
}

}  // namespace vmla::launch
