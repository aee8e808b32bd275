#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "model/codec/codec_options.h"

namespace vmla::model {

/// Decodes one video piece by piece, in memory that does not grow with its length, to the same bits
/// however it is cut. Must not outlive its codec.
class VideoDecoder {
 public:
  virtual ~VideoDecoder() = default;
  /// The video's next latent frames, [F, C, h, w], to their pixel frames, [P, 3, H, W].
  virtual at::Tensor next(const at::Tensor& latents_FCHW) = 0;
};

/// Pixels to latents and back. Pixels: [F_pixels, 3, H, W], fp32 in [-1, 1]; latents: [F, C, h, w],
/// fp32, normalised.
class VideoCodec {
 public:
  virtual ~VideoCodec() = default;
  /// Name and parameters, e.g. "space_to_depth:2"; stored in datasets and checkpoints.
  virtual std::string name() const = 0;
  /// SHA-256 (hex) of all that determines the mapping: weights, or the parameters of a codec
  /// without weights. Data encoded under another hash is refused.
  virtual std::string hash() const = 0;
  virtual CodecGeometry geometry() const = 0;
  /// [pixel_frames(F), 3, H, W] to [F, C, h, w].
  virtual at::Tensor encode(const at::Tensor& pixels_F3HW) const = 0;
  /// A whole video: [F, C, h, w] to [pixel_frames(F), 3, H, W].
  virtual at::Tensor decode(const at::Tensor& latents_FCHW) const = 0;
  /// The same, piece by piece.
  virtual std::unique_ptr<VideoDecoder> start_decoding() const = 0;

  int64_t latent_channels() const { return geometry().latent_channels; }
  int64_t spatial_factor() const { return geometry().spatial_factor; }  // H / h
  int64_t pixel_frames(int64_t latent_frames) const {
    return geometry().pixel_frames(latent_frames);
  }
};

/// Builds the codec `name` describes: "space_to_depth:2", "wan-vae", or one that only decodes the
/// latents of wan-vae, "taew2_1" and "lighttaew2_1". UserError lists the known ones, and says where
/// weights are missing, wrong, or not wanted. On the meta device a codec has sizes and no values: a
/// plan runs it to learn what it allocates. wan-vae then needs no weights, and is Wan 2.1's without
/// them.
std::unique_ptr<VideoCodec> make_video_codec(const std::string& name,
                                             const CodecOptions& options = {});

}  // namespace vmla::model
