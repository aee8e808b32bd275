#include "model/codec/video_codec.h"

#include "model/codec/space_to_depth_codec.h"
#include "model/codec/tiny_vae/tiny_vae.h"
#include "model/codec/wan_vae/wan_vae.h"
#include "model/io/error.h"

namespace vmla::model {

std::unique_ptr<VideoCodec> make_video_codec(const std::string& name, const CodecOptions& options) {
  const CodecGeometry geometry = codec_geometry(name);  // refuses unknown names
  if (!codec_has_weights(name)) {
    if (!options.weights.empty()) {
      fail_user("{} {}: codec {} has no weights", options.weights_option, options.weights, name);
    }
    return std::make_unique<SpaceToDepthCodec>(geometry.spatial_factor);
  }
  const bool may_lack_weights = name == "wan-vae" && options.device == "meta";
  if (options.weights.empty() && !may_lack_weights) {
    fail_user("codec {} needs its weights: give {} PATH, a file or folder that holds them",
              name,
              options.weights_option);
  }
  return name == "wan-vae" ? make_wan_vae(options) : make_tiny_vae(name, options);
}

}  // namespace vmla::model
