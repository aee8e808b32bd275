#include "model/codec/wan_vae/vae_weights.h"

#include <ATen/ATen.h>

#include <charconv>

#include "model/codec/frame_layers.h"
#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::model {
namespace {

/// `name` without `prefix`, which it must begin with.
bool cut(std::string& name, const std::string& prefix) {
  if (!name.starts_with(prefix)) return false;
  name.erase(0, prefix.size());
  return true;
}

/// Cuts a number off the front.
int64_t cut_number(std::string& name) {
  int64_t number = 0;
  const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), number);
  TORCH_CHECK(problem == std::errc(), "no number is where a layer's name has one: ", name);
  name.erase(0, static_cast<size_t>(end - name.data()));
  return number;
}

/// The layers inside a residual block or a resampling.
std::string diffusers_layer(std::string rest) {
  static const std::pair<const char*, const char*> kLayers[] = {{".residual.0.", ".norm1."},
                                                                {".residual.2.", ".conv1."},
                                                                {".residual.3.", ".norm2."},
                                                                {".residual.6.", ".conv2."},
                                                                {".shortcut.", ".conv_shortcut."}};
  for (const auto& [wan, diffusers] : kLayers) {
    if (cut(rest, wan)) return diffusers + rest;
  }
  return rest;
}

/// A kernel over three frames, [out, in, 3, h, w], as [3, out, in, h, w] or, if each of the three
/// has one position, [3, out, in].
at::Tensor prepared_causal(const at::Tensor& weight, bool is_mapped) {
  at::Tensor parts = weight.permute({2, 0, 1, 3, 4});
  if (weight.size(3) == 1 && weight.size(4) == 1) return parts.flatten(2).contiguous();
  if (weight.size(0) < weight.size(1)) return frame_weight(parts.flatten(0, 1));
  if (is_mapped) return parts;
  // Channels innermost in memory.
  return parts.permute({0, 1, 3, 4, 2}).contiguous().permute({0, 1, 4, 2, 3});
}

at::Tensor prepared(const std::string& name,
                    const at::Tensor& stored,
                    const at::TensorOptions& options) {
  if (name.ends_with(".gamma")) return stored.to(options.device(), at::kFloat).flatten();
  at::Tensor weight = stored.to(options);
  if (weight.dim() < 4) return weight;
  if (weight.dim() == 5 && weight.size(2) == 3) {
    return prepared_causal(weight, /*is_mapped=*/weight.is_same(stored));
  }
  const bool has_one_position = weight.size(-1) == 1 && weight.size(-2) == 1;
  if (has_one_position) return weight.flatten(1);
  // With more, only those that change a frame's size are left.
  return name.starts_with("decoder.") ? upsampling_kernels(weight) : frame_weight(weight);
}

template <class Weights>
Weights prepared_side(const VaeSizes& sizes,
                      const TensorMap& tensors,
                      const at::TensorOptions& options) {
  Weights weights;
  Weights::fields(
      weights, sizes, [&](const std::string& name, at::Tensor& tensor, const VaeShape&) {
        tensor = prepared(name, tensors.at(name), options);
      });
  return weights;
}

/// What the tensors are, if not Wan 2.1's VAE.
std::string other_kind(const TensorMap& tensors) {
  if (tensors.empty()) return "it holds no tensors";
  const auto has = [&](const char* name) { return tensors.contains(name); };
  if (has("decoder.1.weight")) return "it is a tiny autoencoder (decoder taew2_1)";
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with("encoder.downsamples.0.downsamples.") ||
        name.starts_with("encoder.down_blocks.0.resnets.")) {
      return "it is laid out as the VAE of Wan 2.2, whose latents are of another kind";
    }
  }
  return formatted("it has no decoder.conv1.weight (nor decoder.conv_in.weight), but {}",
                   io::quoted_name(tensors.begin()->first));
}

}  // namespace

VaeEncoderWeights::VaeEncoderWeights() {
  for (VaeLevel& level : levels) level.blocks.resize(kBlocks);
}

VaeDecoderWeights::VaeDecoderWeights() {
  for (VaeLevel& level : levels) level.blocks.resize(kBlocks);
}

std::vector<CodecTensor> vae_tensors(const VaeSizes& sizes) {
  std::vector<CodecTensor> list;
  const auto add = [&](const std::string& name, const at::Tensor&, VaeShape shape) {
    list.push_back({name, std::move(shape)});
  };
  const VaeEncoderWeights encoder;
  VaeEncoderWeights::fields(encoder, sizes, add);
  const VaeDecoderWeights decoder;
  VaeDecoderWeights::fields(decoder, sizes, add);
  return list;
}

VaeSizes vae_sizes(const TensorMap& tensors, const std::string& source) {
  constexpr const char* kAnchor = "decoder.conv1.weight";
  if (!tensors.contains(kAnchor)) {
    fail_user("{}: is no VAE of Wan 2.1: {}", source, other_kind(tensors));
  }
  // Output channels of a convolution; a tensor that is missing is listed later, with the others.
  const auto out = [&](const std::string& name, int64_t otherwise) {
    const auto found = tensors.find(name);
    return found == tensors.end() || found->second.dim() < 4 ? otherwise : found->second.size(0);
  };
  VaeSizes sizes;
  sizes.latent = out("conv2.weight", sizes.latent);
  if (sizes.latent == 48) {
    fail_user("{}: is the VAE of Wan 2.2 (48 latent channels); the one of Wan 2.1 (16) is needed",
              source);
  }
  sizes.encoder_in = out("encoder.conv1.weight", sizes.encoder_in);
  sizes.decoder_in = out(kAnchor, sizes.decoder_in);
  for (size_t i = 0; i < VaeSizes::kLevels; ++i) {
    const std::string down = "encoder.downsamples." + std::to_string(3 * i);
    const std::string up = "decoder.upsamples." + std::to_string(4 * i);
    sizes.encoder[i] = out(down + ".residual.2.weight", sizes.encoder[i]);
    sizes.decoder[i] = out(up + ".residual.2.weight", sizes.decoder[i]);
    if (i + 1 == VaeSizes::kLevels) continue;
    sizes.decoder_up[i] =
        out("decoder.upsamples." + std::to_string(4 * i + 3) + ".resample.1.weight",
            sizes.decoder_up[i]);
  }
  return sizes;
}

std::string diffusers_vae_name(const std::string& wan) {
  std::string rest = wan;
  if (cut(rest, "conv1.")) return "quant_conv." + rest;
  if (cut(rest, "conv2.")) return "post_quant_conv." + rest;
  const std::string side = rest.substr(0, rest.find('.') + 1);
  cut(rest, side);
  if (cut(rest, "conv1.")) return side + "conv_in." + rest;
  if (cut(rest, "head.0.")) return side + "norm_out." + rest;
  if (cut(rest, "head.2.")) return side + "conv_out." + rest;
  if (cut(rest, "middle.0")) return side + "mid_block.resnets.0" + diffusers_layer(rest);
  if (cut(rest, "middle.1")) return side + "mid_block.attentions.0" + rest;
  if (cut(rest, "middle.2")) return side + "mid_block.resnets.1" + diffusers_layer(rest);
  if (cut(rest, "downsamples.")) {
    const int64_t index = cut_number(rest);
    return formatted("{}down_blocks.{}{}", side, index, diffusers_layer(rest));
  }
  TORCH_CHECK(cut(rest, "upsamples."), "no tensor of the VAE: ", wan);
  const int64_t index = cut_number(rest);
  const int64_t level = index / 4, place = index % 4;
  if (place == 3) return formatted("{}up_blocks.{}.upsamplers.0{}", side, level, rest);
  return formatted("{}up_blocks.{}.resnets.{}{}", side, level, place, diffusers_layer(rest));
}

VaeEncoderWeights prepared_encoder(const VaeSizes& sizes,
                                   const TensorMap& tensors,
                                   at::TensorOptions options) {
  return prepared_side<VaeEncoderWeights>(sizes, tensors, options);
}

VaeDecoderWeights prepared_decoder(const VaeSizes& sizes,
                                   const TensorMap& tensors,
                                   at::TensorOptions options) {
  return prepared_side<VaeDecoderWeights>(sizes, tensors, options);
}

}  // namespace vmla::model
