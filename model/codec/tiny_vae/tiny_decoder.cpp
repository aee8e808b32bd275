#include "model/codec/tiny_vae/tiny_decoder.h"

#include <ATen/ATen.h>

#include "model/codec/frame_layers.h"
#include "model/io/error.h"

namespace vmla::model {
namespace {

/// Memories in the order in which they are used, each with a number of its own.
constexpr size_t kMemories = TinySizes::kStages * 3;

/// `block` of the frame and of the frame before it, which is zeros for the first. What that one
/// contributes was computed together with it.
at::Tensor memory_block(const TinyMemory& block, const at::Tensor& x_HWC, at::Tensor& due) {
  const auto parts = conv_hw(x_HWC, block.convs[0].weight, {}, 1, 1).chunk(2, /*dim=*/2);
  at::Tensor h = at::add(parts[0], block.convs[0].bias);
  if (due.defined()) h.add_(due);
  due = parts[1].contiguous();
  h = conv_hw(at::relu_(h), block.convs[1].weight, block.convs[1].bias, 1, 1);
  h = conv_hw(at::relu_(h), block.convs[2].weight, block.convs[2].bias, 1, 1);
  h.add_(x_HWC);
  return at::relu_(h);
}

/// The decoder from stage `index` on, each frame all the way.
void decode_stages(const TinyDecoderWeights& w,
                   size_t index,
                   at::Tensor x_HWC,
                   TinyStream& stream,
                   const std::function<void(const at::Tensor&)>& emit) {
  if (index == TinySizes::kStages) {
    // Of the first latent frame four pixel frames are computed, and the last is the video's first.
    if (stream.frames++ < 3) return;
    x_HWC = conv_hw(at::relu_(x_HWC), w.conv_out.weight, w.conv_out.bias, 1, 1);
    emit(x_HWC.clamp_(0, 1));
    return;
  }
  const TinyStage& stage = w.stages[index];
  for (size_t i = 0; i < stage.blocks.size(); ++i) {
    x_HWC = memory_block(stage.blocks[i], x_HWC, stream.due[3 * index + i]);
  }
  // Pixels that are repeated stay so under a kernel of one position, so it may come first.
  const at::Tensor grown = at::linear(x_HWC, stage.grow.weight);
  for (const at::Tensor& frame : grown.chunk(TinySizes::kGrowth[index], /*dim=*/2)) {
    decode_stages(
        w, index + 1, upsampled_conv(frame.contiguous(), stage.conv.weight, {}), stream, emit);
  }
}

at::Tensor prepared(const std::string& name,
                    const at::Tensor& stored,
                    at::ScalarType dtype,
                    at::Device device) {
  at::Tensor weight = stored.to(device, dtype);
  if (weight.dim() < 4) return weight.clone();
  if (name.find(".conv.0.") != std::string::npos) weight = at::cat(weight.chunk(2, 1), 0);
  return frame_weight(weight);
}

}  // namespace

std::vector<CodecTensor> tiny_tensors(const TinySizes& sizes) {
  std::vector<CodecTensor> list;
  const TinyDecoderWeights none;
  TinyDecoderWeights::fields(
      none, sizes, [&](const std::string& name, const at::Tensor&, std::vector<int64_t> shape) {
        list.push_back({name, std::move(shape)});
      });
  return list;
}

LoadedTiny load_tiny_decoder(const std::filesystem::path& path) {
  LoadedTiny loaded;
  loaded.tensors = without_prefix(read_codec_tensors(path), {"decoder.1.weight"});
  std::erase_if(loaded.tensors,
                [](const auto& entry) { return entry.first.starts_with("encoder."); });
  TensorMap& tensors = loaded.tensors;
  if (tensors.contains("decoder.conv1.weight") || tensors.contains("decoder.conv_in.weight")) {
    fail_user("{}: holds the VAE of Wan itself (codec wan-vae), not a tiny decoder", path.string());
  }
  const auto out = [&](const char* name, int64_t& width, size_t dim = 0) {
    const auto found = tensors.find(name);
    if (found != tensors.end() && found->second.dim() == 4) {
      width = found->second.size(static_cast<int64_t>(dim));
    }
  };
  TinySizes& sizes = loaded.sizes;
  out("decoder.1.weight", sizes.latent, 1);
  out("decoder.1.weight", sizes.widths[0]);
  out("decoder.8.weight", sizes.widths[1]);
  out("decoder.14.weight", sizes.widths[2]);
  out("decoder.20.weight", sizes.widths[3]);
  // Older files grow more frames than are used: the last ones count.
  const char* const grow[] = {
      "decoder.7.conv.weight", "decoder.13.conv.weight", "decoder.19.conv.weight"};
  for (size_t i = 0; i < TinySizes::kStages; ++i) {
    const auto found = tensors.find(grow[i]);
    const int64_t rows = TinySizes::kGrowth[i] * sizes.widths[i];
    if (found == tensors.end() || found->second.dim() != 4 || found->second.size(0) < rows)
      continue;
    found->second = found->second.narrow(0, found->second.size(0) - rows, rows);
  }
  check_codec_tensors(tiny_tensors(sizes), tensors, "a decoder taew2_1", path.string());
  return loaded;
}

TinyDecoderWeights prepared_tiny(const LoadedTiny& loaded,
                                 at::ScalarType dtype,
                                 at::Device device) {
  TinyDecoderWeights weights;
  TinyDecoderWeights::fields(
      weights, loaded.sizes, [&](const std::string& name, at::Tensor& tensor, const auto&) {
        tensor = prepared(name, loaded.tensors.at(name), dtype, device);
      });
  for (TinyStage& stage : weights.stages) {
    stage.conv.weight = upsampling_kernels(stage.conv.weight);
  }
  return weights;
}

void decode_tiny_frame(const TinyDecoderWeights& weights,
                       const at::Tensor& latent_hwC,
                       TinyStream& stream,
                       const std::function<void(const at::Tensor&)>& emit) {
  stream.due.resize(kMemories);
  // Keeps outliers among the latents to about what the network has seen.
  const at::Tensor latent = latent_hwC.div(3).tanh_().mul_(3);
  at::Tensor x = conv_hw(latent, weights.conv_in.weight, weights.conv_in.bias, 1, 1);
  decode_stages(weights, 0, at::relu_(x), stream, emit);
}

}  // namespace vmla::model
