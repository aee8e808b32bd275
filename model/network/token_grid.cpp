#include "model/network/token_grid.h"

#include "model/io/error.h"

namespace vmla::model {

TokenGrid token_grid(const ModelConfig& config, int64_t latent_height, int64_t latent_width) {
  const int64_t p = config.patch_size[1], q = config.patch_size[2];
  if (latent_height % p != 0 || latent_width % q != 0) {
    fail_user(
        "latents of {}x{} do not divide into patches of {}x{}: height and width must be multiples "
        "of them",
        latent_height,
        latent_width,
        p,
        q);
  }
  return {latent_height / p, latent_width / q};
}

}  // namespace vmla::model
