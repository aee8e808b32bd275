#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

namespace vmla::model {

/// Pixels to latents and back. Pixels: [F_pixels, 3, H, W], fp32 in [-1, 1]; latents: [F, C, h, w],
/// fp32.
class VideoCodec {
 public:
  virtual ~VideoCodec() = default;
  /// Name and parameters, e.g. "space_to_depth:2"; stored in datasets and checkpoints.
  virtual std::string name() const = 0;
  /// SHA-256 (hex) of all that determines the mapping: weights, or the parameters of a codec
  /// without weights. Data encoded under another hash is refused.
  virtual std::string hash() const = 0;
  virtual int64_t latent_channels() const = 0;
  virtual int64_t spatial_factor() const = 0;  // H / h
  /// Pixel frames that `latent_frames` decode to (for a codec like Wan's VAE, 1 + 4 (F - 1)).
  virtual int64_t pixel_frames(int64_t latent_frames) const = 0;
  /// [pixel_frames(F), 3, H, W] to [F, C, h, w].
  virtual at::Tensor encode(const at::Tensor& pixels_F3HW) const = 0;
  /// [F, C, h, w] to [pixel_frames(F), 3, H, W].
  virtual at::Tensor decode(const at::Tensor& latents_FCHW) const = 0;
};

/// Builds the codec `name` describes ("space_to_depth:2"); UserError lists the known ones.
std::unique_ptr<VideoCodec> make_video_codec(const std::string& name);

}  // namespace vmla::model
