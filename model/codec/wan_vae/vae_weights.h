#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "model/codec/codec_weights.h"

/// The weights of Wan 2.1's video VAE (docs/algorithms.md 17) as plain structs of tensors. Each
/// struct's fields() calls a visitor with (name, tensor, shape) for each tensor, under the names of
/// the original checkpoint.
namespace vmla::model {

/// Channels at each place; all of them stand in the weights' shapes. Levels are numbered from the
/// pixels in the encoder and from the latents in the decoder, the order in which they are computed.
struct VaeSizes {
  static constexpr size_t kLevels = 4;
  int64_t latent = 16;
  int64_t encoder_in = 96, decoder_in = 384;  // behind the first convolution
  std::array<int64_t, kLevels> encoder{96, 192, 384, 384};
  std::array<int64_t, kLevels> decoder{384, 384, 192, 96};
  std::array<int64_t, kLevels - 1> decoder_up{192, 192, 96};  // behind a level's upsampling
};

using VaeShape = std::vector<int64_t>;

/// A convolution. As stored, [out, in, t, h, w] or [out, in, h, w]; as used, see prepared_vae().
struct VaeConv {
  at::Tensor weight, bias;

  template <class Self, class V>
  static void fields(Self& w, const std::string& name, VaeShape shape, V&& v) {
    const int64_t out = shape[0];
    v(name + ".weight", w.weight, std::move(shape));
    v(name + ".bias", w.bias, VaeShape{out});
  }
};

struct VaeResidual {
  at::Tensor norm1, norm2;  // gains [C, 1, 1, 1]
  VaeConv conv1, conv2;
  VaeConv shortcut;  // undefined where the width stays

  template <class Self, class V>
  static void fields(Self& w, const std::string& name, int64_t in, int64_t out, V&& v) {
    v(name + ".residual.0.gamma", w.norm1, VaeShape{in, 1, 1, 1});
    VaeConv::fields(w.conv1, name + ".residual.2", {out, in, 3, 3, 3}, v);
    v(name + ".residual.3.gamma", w.norm2, VaeShape{out, 1, 1, 1});
    VaeConv::fields(w.conv2, name + ".residual.6", {out, out, 3, 3, 3}, v);
    if (in != out) VaeConv::fields(w.shortcut, name + ".shortcut", {out, in, 1, 1, 1}, v);
  }
};

/// Two residual blocks around the only attention, which is within a frame and has one head.
struct VaeMiddle {
  VaeResidual before, after;
  at::Tensor norm;  // [C, 1, 1]
  VaeConv qkv, proj;

  template <class Self, class V>
  static void fields(Self& w, const std::string& name, int64_t width, V&& v) {
    VaeResidual::fields(w.before, name + ".0", width, width, v);
    v(name + ".1.norm.gamma", w.norm, VaeShape{width, 1, 1});
    VaeConv::fields(w.qkv, name + ".1.to_qkv", {3 * width, width, 1, 1}, v);
    VaeConv::fields(w.proj, name + ".1.proj", {width, width, 1, 1}, v);
    VaeResidual::fields(w.after, name + ".2", width, width, v);
  }
};

/// Residual blocks of one resolution, and what leads to the next.
struct VaeLevel {
  std::vector<VaeResidual> blocks;
  VaeConv resample;  // undefined at the last level
  VaeConv time;      // undefined where only height and width change
};

struct VaeEncoderWeights {
  static constexpr size_t kBlocks = 2;
  VaeConv conv_in;
  std::array<VaeLevel, VaeSizes::kLevels> levels;
  VaeMiddle middle;
  at::Tensor head_norm;
  VaeConv head;      // to twice the latent's channels: mean and log-variance
  VaeConv quantize;  // 1 x 1 x 1 behind it

  /// No tensors, but room for every block.
  VaeEncoderWeights();
  template <class Self, class V>
  static void fields(Self& w, const VaeSizes& s, V&& v) {
    VaeConv::fields(w.conv_in, "encoder.conv1", {s.encoder_in, 3, 3, 3, 3}, v);
    int64_t in = s.encoder_in, index = 0;
    for (size_t i = 0; i < VaeSizes::kLevels; ++i) {
      const int64_t out = s.encoder[i];
      const auto name = [&] { return "encoder.downsamples." + std::to_string(index++); };
      for (auto& block : w.levels[i].blocks) {
        VaeResidual::fields(block, name(), in, out, v);
        in = out;
      }
      if (i + 1 == VaeSizes::kLevels) continue;
      const std::string resample = name();
      VaeConv::fields(w.levels[i].resample, resample + ".resample.1", {out, out, 3, 3}, v);
      if (i > 0) VaeConv::fields(w.levels[i].time, resample + ".time_conv", {out, out, 3, 1, 1}, v);
    }
    VaeMiddle::fields(w.middle, "encoder.middle", in, v);
    v("encoder.head.0.gamma", w.head_norm, VaeShape{in, 1, 1, 1});
    VaeConv::fields(w.head, "encoder.head.2", {2 * s.latent, in, 3, 3, 3}, v);
    VaeConv::fields(w.quantize, "conv1", {2 * s.latent, 2 * s.latent, 1, 1, 1}, v);
  }
};

struct VaeDecoderWeights {
  static constexpr size_t kBlocks = 3;
  VaeConv unquantize;  // 1 x 1 x 1 in front
  VaeConv conv_in;
  VaeMiddle middle;
  std::array<VaeLevel, VaeSizes::kLevels> levels;
  at::Tensor head_norm;
  VaeConv head;

  VaeDecoderWeights();
  template <class Self, class V>
  static void fields(Self& w, const VaeSizes& s, V&& v) {
    VaeConv::fields(w.unquantize, "conv2", {s.latent, s.latent, 1, 1, 1}, v);
    VaeConv::fields(w.conv_in, "decoder.conv1", {s.decoder_in, s.latent, 3, 3, 3}, v);
    VaeMiddle::fields(w.middle, "decoder.middle", s.decoder_in, v);
    int64_t in = s.decoder_in, index = 0;
    for (size_t i = 0; i < VaeSizes::kLevels; ++i) {
      const int64_t out = s.decoder[i];
      const auto name = [&] { return "decoder.upsamples." + std::to_string(index++); };
      for (auto& block : w.levels[i].blocks) {
        VaeResidual::fields(block, name(), in, out, v);
        in = out;
      }
      if (i + 1 == VaeSizes::kLevels) continue;
      const std::string resample = name();
      VaeConv::fields(
          w.levels[i].resample, resample + ".resample.1", {s.decoder_up[i], out, 3, 3}, v);
      if (i < 2) {
        VaeConv::fields(w.levels[i].time, resample + ".time_conv", {2 * out, out, 3, 1, 1}, v);
      }
      in = s.decoder_up[i];
    }
    v("decoder.head.0.gamma", w.head_norm, VaeShape{in, 1, 1, 1});
    VaeConv::fields(w.head, "decoder.head.2", {3, in, 3, 3, 3}, v);
  }
};

/// Every tensor of a VAE of these sizes, in visitor order.
std::vector<CodecTensor> vae_tensors(const VaeSizes& sizes);

/// The sizes that the tensors (under the original names) have. UserError names `source` where these
/// are no weights of Wan 2.1's VAE, and what they look like instead.
VaeSizes vae_sizes(const TensorMap& tensors, const std::string& source);

/// The tensor `name` (under the original name) for name `name` of diffusers' AutoencoderKLWan.
std::string diffusers_vae_name(const std::string& name);

/// Puts the stored tensors into a struct, in the form in which the layers compute with them:
/// matrices and biases in the dtype of `options`, gains [C] in fp32, on its device.
///   three frames: [3, out, in, h, w], earliest first; [3, out, in] if of one position; and
///     [3 out, in, h, w] where there are fewer outputs than inputs (VaeLayerState);
///   those of one frame: [out, in] if of one position; upsampling_kernels() behind the decoder's
///     upsampling; [out, in, h, w] else.
/// Where dtype and device are the file's, the large ones are views of the mapped file, which keep
/// it mapped: hundreds of megabytes that are not held twice.
VaeEncoderWeights prepared_encoder(const VaeSizes& sizes,
                                   const TensorMap& tensors,
                                   at::TensorOptions options);
VaeDecoderWeights prepared_decoder(const VaeSizes& sizes,
                                   const TensorMap& tensors,
                                   at::TensorOptions options);

}  // namespace vmla::model
