#include "model/codec/codec_options.h"

#include <charconv>
#include <string_view>

#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::model {

bool codec_has_weights(const std::string& name) {
  return name == "wan-vae" || codec_of_latents(name) == "wan-vae";
}

std::string codec_of_latents(const std::string& name) {
  return name == "taew2_1" || name == "lighttaew2_1" ? "wan-vae" : name;
}

CodecGeometry codec_geometry(const std::string& name) {
  if (codec_has_weights(name)) {
    return {.latent_channels = 16, .spatial_factor = 8, .temporal_factor = 4};
  }
  constexpr std::string_view kSpaceToDepth = "space_to_depth:";
  if (name.starts_with(kSpaceToDepth)) {
    int64_t block = 0;
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + kSpaceToDepth.size(), end, block);
    if (error == std::errc() && rest == end && block >= 1 && block <= 16) {
      return {.latent_channels = 3 * block * block, .spatial_factor = block};
    }
  }
  fail_user(
      "video codec {} is unknown; known: space_to_depth:N with N from 1 to 16, wan-vae, and to "
      "decode the latents of wan-vae alone taew2_1 and lighttaew2_1",
      io::quoted_name(name));
}

}  // namespace vmla::model
