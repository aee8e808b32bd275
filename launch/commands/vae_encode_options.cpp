#include "launch/commands/vae_encode.h"

namespace vmla::launch {

const CommandText VaeEncodeArgs::kText = {
    "vae encode",
    "turns pixels into latents, on given tensors",
    R"(Reads pixels [B, 3, 1 + 4 k, H, W], F32 in [-1, 1], with H and W multiples of 8; writes latents
[B, 1 + k, 16, H / 8, W / 8], F32, normalised: the means that the encoder computes, nothing is drawn. A clip's memory
does not grow with its frames. --tile bounds it for pictures of any size: tiles overlap, and their seams are blended.

Example:
  vmla vae encode --weights Wan2.1-T2V-1.3B-Diffusers/vae --input pixels.safetensors --output latents.safetensors)"};

void VaeEncodeArgs::define(OptionSet& options) {
  add_vae_weights(options, *this);
  options.text("--input", input, "FILE", "safetensors: pixels [B, 3, 1 + 4 k, H, W]").required();
  options.text("--output", output, "FILE", "safetensors to write: latents [B, 1 + k, 16, h, w]")
      .required();
  add_tile(options, tile);
  add_compute(options, *this);
}

}  // namespace vmla::launch
