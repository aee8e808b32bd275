#pragma once

#include <cstdint>
#include <string>

namespace vmla::model {

/// What a codec needs besides its name: nothing, if it has no weights.
struct CodecOptions {
  std::string weights;             // a file or folder
  std::string precision = "fp32";  // or bf16: of matrices and activations
  std::string device = "cpu";      // or cuda; or meta, for plans
  /// Pixel rows and columns that are encoded or decoded at once, a multiple of 8; 0: all. Bounds
  /// the memory of a clip of any size, at the price of seams that are blended
  /// (docs/algorithms.md 17.5).
  int64_t tile = 0;
  /// What it is made for: weights that only the other way needs are not kept.
  bool encodes = true, decodes = true;
  /// What a user is to give where `weights` is missing: a flag or a key.
  std::string weights_option = "--codec-weights";
};

/// How sizes of pixels and latents belong together.
struct CodecGeometry {
  int64_t latent_channels = 0;
  int64_t spatial_factor = 1;   // H / h
  int64_t temporal_factor = 1;  // pixel frames of each latent frame but the first, which has one
  int64_t pixel_frames(int64_t latent_frames) const {
    return 1 + temporal_factor * (latent_frames - 1);
  }
  /// The least number that gives `pixels` pixel frames or more.
  int64_t latent_frames(int64_t pixels) const {
    return 1 + (pixels - 1 + temporal_factor - 1) / temporal_factor;
  }
  bool operator==(const CodecGeometry&) const = default;
};

/// The geometry of the codec `name`, for which no weights are needed. UserError lists the known
/// names.
CodecGeometry codec_geometry(const std::string& name);

/// True for a codec that make_video_codec() builds from weights.
bool codec_has_weights(const std::string& name);

/// The codec whose latents `name` decodes: itself, but for decoders of another's.
std::string codec_of_latents(const std::string& name);

}  // namespace vmla::model
