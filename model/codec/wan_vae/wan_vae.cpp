#include "model/codec/wan_vae/wan_vae.h"

#include <ATen/ATen.h>

#include "model/codec/tiled_frames.h"
#include "model/codec/wan_vae/load_vae.h"
#include "model/codec/wan_vae/vae_layers.h"
#include "model/io/error.h"

namespace vmla::model {
namespace {

/// What all streams of one codec share.
struct Vae {
  VaeEncoderWeights encoder;  // without tensors where it is not used; so the decoder
  VaeDecoderWeights decoder;
  LatentStatistics statistics;
  at::TensorOptions options;  // of its activations
};

FrameDecoder new_decoder(const std::shared_ptr<const Vae>& vae) {
  const auto stream = std::make_shared<VaeStream>();
  return [vae, stream](const at::Tensor& latent_hwC, const auto& emit) {
    const at::Tensor latent = vae->statistics.restored(latent_hwC).to(vae->options);
    decode_frame(vae->decoder, latent, *stream, [&](const at::Tensor& pixels_HW3) {
      emit(pixels_HW3.clamp(-1, 1));
    });
  };
}

FrameEncoder new_encoder(const std::shared_ptr<const Vae>& vae) {
  const auto stream = std::make_shared<VaeStream>();
  return [vae, stream](const at::Tensor& pixels_HW3) -> at::Tensor {
    const at::Tensor latent = encode_frame(vae->encoder, pixels_HW3.to(vae->options), *stream);
    return latent.defined() ? vae->statistics.normalised(latent) : latent;
  };
}

std::string hash_of(const LoadedVae& loaded) {
  std::string parameters = "wan-vae";
  for (const auto& list : {loaded.statistics.mean, loaded.statistics.deviation}) {
    for (const double value : list) parameters += formatted(" {:.9g}", value);
  }
  return weights_hash(parameters, vae_tensors(loaded.sizes), loaded.tensors);
}

}  // namespace

std::unique_ptr<VideoCodec> make_wan_vae(const CodecOptions& options) {
  const auto activations = at::TensorOptions(at::Device(options.device))
                               .dtype(options.precision == "bf16" ? at::kBFloat16 : at::kFloat);
  const bool is_plan = options.device == "meta";
  const LoadedVae loaded = is_plan ? sizes_only_vae(options.weights) : load_vae(options.weights);
  const CodecGeometry geometry{
      .latent_channels = loaded.sizes.latent, .spatial_factor = 8, .temporal_factor = 4};
  const auto vae = std::make_shared<Vae>();
  if (options.encodes) vae->encoder = prepared_encoder(loaded.sizes, loaded.tensors, activations);
  if (options.decodes) vae->decoder = prepared_decoder(loaded.sizes, loaded.tensors, activations);
  vae->statistics = loaded.statistics;
  vae->options = activations;
  TiledFrames frames{.geometry = geometry,
                     .tile = latent_tile(options, geometry.spatial_factor),
                     .new_decoder = {},
                     .new_encoder = {}};
  if (options.encodes) frames.new_encoder = [vae] { return new_encoder(vae); };
  if (options.decodes) frames.new_decoder = [vae] { return new_decoder(vae); };
  return std::make_unique<FrameCodec>("wan-vae", is_plan ? "" : hash_of(loaded), std::move(frames));
}

}  // namespace vmla::model
