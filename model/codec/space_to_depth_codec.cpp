#include "model/codec/space_to_depth_codec.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "kernels/host_transfer.h"
#include "model/io/error.h"
#include "model/io/sha256.h"

namespace vmla::model {
namespace {

/// Orthonormal DCT-II, [n, n], rows: frequencies.
at::Tensor dct_matrix(int64_t n) {
  at::Tensor matrix = at::empty({n, n}, at::kDouble);
  auto values = matrix.accessor<double, 2>();
  for (int64_t k = 0; k < n; ++k) {
    const double norm = std::sqrt((k == 0 ? 1.0 : 2.0) / static_cast<double>(n));
    for (int64_t i = 0; i < n; ++i) {
      const double angle =
          std::numbers::pi * static_cast<double>(k * (2 * i + 1)) / static_cast<double>(2 * n);
      values[k][i] = norm * std::cos(angle);
    }
  }
  return matrix;
}

class FrameByFrame final : public VideoDecoder {
 public:
  explicit FrameByFrame(const SpaceToDepthCodec& codec) : codec_(codec) {}
  at::Tensor next(const at::Tensor& latents_FCHW) override { return codec_.decode(latents_FCHW); }

 private:
  SpaceToDepthCodec codec_;
};

}  // namespace

SpaceToDepthCodec::SpaceToDepthCodec(int64_t block) : block_(block) {
  const at::Tensor spatial = at::kron(dct_matrix(block), dct_matrix(block));
  transform_ = at::kron(dct_matrix(3), spatial).to(at::kFloat).contiguous();
}

std::string SpaceToDepthCodec::name() const {
  return formatted("space_to_depth:{}", block_);
}

std::string SpaceToDepthCodec::hash() const {
  // All that determines the mapping: a change of the formula must change this text.
  const std::string text =
      formatted("space_to_depth block={} dct2(colour,row,column) mean={:g} scale={:g}",
                block_,
                kMean,
                kScale);
  return io::sha256_hex(text.data(), text.size());
}

at::Tensor SpaceToDepthCodec::encode(const at::Tensor& pixels_F3HW) const {
  TORCH_CHECK(pixels_F3HW.dim() == 4 && pixels_F3HW.size(1) == 3,
              "pixels must be [F, 3, H, W], got ",
              pixels_F3HW.sizes());
  const int64_t frames = pixels_F3HW.size(0), height = pixels_F3HW.size(2),
                width = pixels_F3HW.size(3);
  if (height % block_ != 0 || width % block_ != 0) {
    fail_user("codec {}: pictures of {}x{} are no multiple of {}", name(), height, width, block_);
  }
  const at::Tensor blocks =
      pixels_F3HW.to(at::kFloat)
          .sub(kMean)
          .mul(kScale)
          .reshape({frames, 3, height / block_, block_, width / block_, block_})
          .permute({0, 2, 4, 1, 3, 5})
          .reshape({-1, latent_channels()});
  return at::mm(blocks, kernels::upload(transform_, blocks.device()).t())
      .view({frames, height / block_, width / block_, latent_channels()})
      .permute({0, 3, 1, 2})
      .contiguous();
}

at::Tensor SpaceToDepthCodec::decode(const at::Tensor& latents_FCHW) const {
  TORCH_CHECK(latents_FCHW.dim() == 4 && latents_FCHW.size(1) == latent_channels(),
              "latents must be [F, ",
              latent_channels(),
              ", h, w], got ",
              latents_FCHW.sizes());
  const int64_t frames = latents_FCHW.size(0), height = latents_FCHW.size(2),
                width = latents_FCHW.size(3);
  const at::Tensor rows =
      latents_FCHW.to(at::kFloat).permute({0, 2, 3, 1}).reshape({-1, latent_channels()});
  // Q is orthogonal: its inverse is its transpose.
  return at::mm(rows, kernels::upload(transform_, rows.device()))
      .view({frames, height, width, 3, block_, block_})
      .permute({0, 3, 1, 4, 2, 5})
      .reshape({frames, 3, height * block_, width * block_})
      .div(kScale)
      .add(kMean);
}

std::unique_ptr<VideoDecoder> SpaceToDepthCodec::start_decoding() const {
  return std::make_unique<FrameByFrame>(*this);
}

}  // namespace vmla::model
