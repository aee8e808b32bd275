#include "launch/commands/vae_decode.h"

namespace vmla::launch {

const CommandText VaeDecodeArgs::kText = {
    "vae decode",
    "turns latents into pixels, on given tensors",
    R"(Reads latents [B, 1 + k, 16, h, w], F32, normalised; writes pixels [B, 3, 1 + 4 k, 8 h, 8 w], F32, clamped to
[-1, 1]. A clip's memory does not grow with its frames. --tile bounds it for pictures of any size: tiles overlap, and
their seams are blended. --codec names a small decoder of the same latents, whose weights --weights then holds.

Example:
  vmla vae decode --weights Wan2.1-T2V-1.3B-Diffusers/vae --input latents.safetensors --output pixels.safetensors)"};

void VaeDecodeArgs::define(OptionSet& options) {
  add_vae_weights(options, *this);
  options.text("--input", input, "FILE", "safetensors: latents [B, 1 + k, 16, h, w]").required();
  options.text("--output", output, "FILE", "safetensors to write: pixels [B, 3, 1 + 4 k, 8 h, 8 w]")
      .required();
  options.choice("--codec", codec, {"wan-vae", "taew2_1", "lighttaew2_1"}, "what decodes")
      .shows_default();
  add_tile(options, tile);
  add_compute(options, *this);
}

}  // namespace vmla::launch
