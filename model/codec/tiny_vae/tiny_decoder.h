#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/codec/codec_weights.h"

/// The decoder of a tiny autoencoder for the latents of Wan 2.1 (taew2_1; docs/algorithms.md 17.6):
/// its weights as plain structs with a visitor each, and its layers, which take frame after frame.
namespace vmla::model {

/// Channels at each place, as the weights' shapes say.
struct TinySizes {
  static constexpr size_t kStages = 3;
  int64_t latent = 16;
  std::array<int64_t, kStages + 1> widths{256, 128, 64, 64};  // of each stage, and of the output's
  /// Frames that a stage makes of one.
  static constexpr std::array<int64_t, kStages> kGrowth{1, 2, 2};
};

struct TinyConv {
  at::Tensor weight, bias;  // bias undefined where there is none

  template <class Self, class V>
  static void fields(
      Self& w, const std::string& name, std::vector<int64_t> shape, bool bias, V&& v) {
    const int64_t out = shape[0];
    v(name + ".weight", w.weight, std::move(shape));
    if (bias) v(name + ".bias", w.bias, std::vector<int64_t>{out});
  }
};

/// A residual block whose first convolution sees the frame and the one before it.
struct TinyMemory {
  std::array<TinyConv, 3> convs;

  template <class Self, class V>
  static void fields(Self& w, const std::string& name, int64_t width, V&& v) {
    TinyConv::fields(w.convs[0], name + ".conv.0", {width, 2 * width, 3, 3}, true, v);
    TinyConv::fields(w.convs[1], name + ".conv.2", {width, width, 3, 3}, true, v);
    TinyConv::fields(w.convs[2], name + ".conv.4", {width, width, 3, 3}, true, v);
  }
};

struct TinyStage {
  std::array<TinyMemory, 3> blocks;
  TinyConv grow;  // a frame into several, behind the upsampling
  TinyConv conv;
};

struct TinyDecoderWeights {
  TinyConv conv_in;
  std::array<TinyStage, TinySizes::kStages> stages;
  TinyConv conv_out;

  template <class Self, class V>
  static void fields(Self& w, const TinySizes& s, V&& v) {
    TinyConv::fields(w.conv_in, "decoder.1", {s.widths[0], s.latent, 3, 3}, true, v);
    int64_t index = 3;
    const auto name = [&] { return "decoder." + std::to_string(index++); };
    for (size_t i = 0; i < TinySizes::kStages; ++i) {
      const int64_t width = s.widths[i];
      for (auto& block : w.stages[i].blocks) TinyMemory::fields(block, name(), width, v);
      ++index;  // the upsampling
      TinyConv::fields(w.stages[i].grow,
                       name() + ".conv",
                       {TinySizes::kGrowth[i] * width, width, 1, 1},
                       false,
                       v);
      TinyConv::fields(w.stages[i].conv, name(), {s.widths[i + 1], width, 3, 3}, false, v);
    }
    TinyConv::fields(w.conv_out, "decoder.22", {3, s.widths[3], 3, 3}, true, v);
  }
};

std::vector<CodecTensor> tiny_tensors(const TinySizes& sizes);

/// The decoder's tensors of a file (read_tensors), and their sizes. What belongs to an encoder is
/// left out; of `grow`, the last rows that count. UserError says what does not fit.
struct LoadedTiny {
  TinySizes sizes;
  TensorMap tensors;
};
LoadedTiny load_tiny_decoder(const std::filesystem::path& path);

/// The struct with the tensors as the layers want them, in `dtype` on `device`: the two halves of a
/// memory's first kernel one after another along the output, [2 out, in, h, w], the frame's first;
/// the kernels behind an upsampling as upsampling_kernels().
TinyDecoderWeights prepared_tiny(const LoadedTiny& loaded, at::ScalarType dtype, at::Device device);

/// What is kept of one video between its frames.
struct TinyStream {
  int64_t frames = 0;             // pixel frames computed so far
  std::vector<at::Tensor> due{};  // of each memory, in the order of use: the last frame's part
};

/// One normalised latent frame [h, w, C] into its pixel frames [8h, 8w, 3], in [0, 1]: one for the
/// first, of which three more are computed and left out, and four for each other.
void decode_tiny_frame(const TinyDecoderWeights& weights,
                       const at::Tensor& latent_hwC,
                       TinyStream& stream,
                       const std::function<void(const at::Tensor&)>& emit);

}  // namespace vmla::model
