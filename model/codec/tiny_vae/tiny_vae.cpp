#include "model/codec/tiny_vae/tiny_vae.h"

#include <ATen/ATen.h>

#include "model/codec/latent_statistics.h"
#include "model/codec/tiled_frames.h"
#include "model/codec/tiny_vae/tiny_decoder.h"
#include "model/io/error.h"

namespace vmla::model {
namespace {

struct Tiny {
  TinyDecoderWeights weights;
  bool restores;  // takes latents that are not normalised
  at::TensorOptions options;
};

FrameDecoder new_decoder(const std::shared_ptr<const Tiny>& tiny) {
  const auto stream = std::make_shared<TinyStream>();
  return [tiny, stream](const at::Tensor& latent_hwC, const auto& emit) {
    const at::Tensor latent =
        tiny->restores ? LatentStatistics::wan21().restored(latent_hwC) : latent_hwC;
    decode_tiny_frame(
        tiny->weights, latent.to(tiny->options), *stream, [&](const at::Tensor& pixels_HW3) {
          emit(pixels_HW3.to(at::kFloat).mul(2).sub_(1));
        });
  };
}

}  // namespace

std::unique_ptr<VideoCodec> make_tiny_vae(const std::string& name, const CodecOptions& options) {
  const at::Device device(options.device);
  const at::ScalarType dtype = options.precision == "bf16" ? at::kBFloat16 : at::kFloat;
  const LoadedTiny loaded = load_tiny_decoder(options.weights);
  const bool restores = name == "lighttaew2_1";
  if (restores && loaded.sizes.latent != 16) {
    fail_user("{}: takes {} latent channels; {} has the 16 of Wan 2.1",
              options.weights,
              loaded.sizes.latent,
              name);
  }
  const CodecGeometry geometry{
      .latent_channels = loaded.sizes.latent, .spatial_factor = 8, .temporal_factor = 4};
  const auto tiny =
      std::make_shared<const Tiny>(Tiny{.weights = prepared_tiny(loaded, dtype, device),
                                        .restores = restores,
                                        .options = at::TensorOptions(dtype).device(device)});
  return std::make_unique<FrameCodec>(
      name,
      weights_hash(name, tiny_tensors(loaded.sizes), loaded.tensors),
      TiledFrames{.geometry = geometry,
                  .tile = latent_tile(options, geometry.spatial_factor),
                  .new_decoder = [tiny] { return new_decoder(tiny); },
                  .new_encoder = {}});
}

}  // namespace vmla::model
