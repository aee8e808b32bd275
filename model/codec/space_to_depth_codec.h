#pragma once

#include <memory>
#include <string>

#include "model/codec/video_codec.h"

namespace vmla::model {

/// The codec of the tiny pipeline: it has no weights, loses nothing and does not compress time.
/// Every N x N block of pixels becomes the 3·N·N channels of one latent position:
///   z = kScale · Q (x - kMean),
/// with Q orthogonal: the orthonormal DCT-II over the block's rows and columns and over the three
/// colours. Channel
/// ((colour frequency · N + row frequency) · N + column frequency), so channel 0 is √3·N times the
/// block's mean. Because Q is orthogonal and the scale one number, a squared error in latents is
/// one in pixels, and white noise stays white.
class SpaceToDepthCodec final : public VideoCodec {
 public:
  /// Level of a typical pixel and the inverse deviation around it, measured over moving-shape
  /// clips: latents then have mean square 0.94 over all channels together, channel 0 mean 0.
  static constexpr double kMean = -0.65;
  static constexpr double kScale = 2.4;

  explicit SpaceToDepthCodec(int64_t block);
  std::string name() const override;
  std::string hash() const override;
  CodecGeometry geometry() const override {
    return {.latent_channels = 3 * block_ * block_, .spatial_factor = block_};
  }
  /// [F, 3, H, W] in [-1, 1] → [F, 3·N·N, H/N, W/N].
  at::Tensor encode(const at::Tensor& pixels_F3HW) const override;
  /// The exact inverse up to fp32 rounding; not clamped.
  at::Tensor decode(const at::Tensor& latents_FCHW) const override;
  /// Every frame is decoded for itself.
  std::unique_ptr<VideoDecoder> start_decoding() const override;

 private:
  int64_t block_;
  at::Tensor transform_;  // Q [C, C]; rows: latent channels, columns: (colour, row, column)
};

}  // namespace vmla::model
