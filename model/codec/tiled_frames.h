#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/codec/video_codec.h"

/// Codecs that take one frame after another, over videos of any size: in tiles that overlap.
namespace vmla::model {

/// Decodes one tile of one video: takes a latent frame [h, w, C] and emits its pixel frames
/// [H, W, 3] one by one.
using FrameDecoder = std::function<void(const at::Tensor& latent_hwC,
                                        const std::function<void(const at::Tensor&)>& emit)>;
/// Encodes one tile of one video: takes a pixel frame [H, W, 3] and returns the latent frame
/// [h, w, C] that it completes, undefined if none.
using FrameEncoder = std::function<at::Tensor(const at::Tensor& pixels_HW3)>;

/// A tile, in latent rows or columns.
struct TileSpan {
  int64_t begin, size;
  bool operator==(const TileSpan&) const = default;
};

/// Spans of `tile` (0: one of all) that cover [0, extent) and overlap by `overlap` or more. The
/// last one ends where the extent does.
std::vector<TileSpan> tile_spans(int64_t extent, int64_t tile, int64_t overlap);

/// A codec of frames, cut into square tiles of `tile` latent rows and columns.
struct TiledFrames {
  CodecGeometry geometry;
  int64_t tile = 0;  // 0: all
  std::function<FrameDecoder()> new_decoder;
  std::function<FrameEncoder()> new_encoder;  // empty where there is none

  /// A whole clip, tile after tile: only one tile's memory of the past is held at a time.
  at::Tensor decode(const at::Tensor& latents_FCHW) const;
  at::Tensor encode(const at::Tensor& pixels_F3HW) const;
  /// Piece by piece: what all tiles keep of the past is held.
  std::unique_ptr<VideoDecoder> start_decoding() const;
};

/// A codec with weights, which work on frames.
class FrameCodec final : public VideoCodec {
 public:
  FrameCodec(std::string name, std::string hash, TiledFrames frames)
      : name_(std::move(name)), hash_(std::move(hash)), frames_(std::move(frames)) {}
  std::string name() const override { return name_; }
  std::string hash() const override { return hash_; }
  CodecGeometry geometry() const override { return frames_.geometry; }
  /// UserError where the codec only decodes, or frames or size are not what it encodes.
  at::Tensor encode(const at::Tensor& pixels_F3HW) const override;
  at::Tensor decode(const at::Tensor& latents_FCHW) const override;
  std::unique_ptr<VideoDecoder> start_decoding() const override;

 private:
  std::string name_, hash_;
  TiledFrames frames_;
};

/// `options.tile` in latent rows; UserError if it is no multiple of `factor`, or below 8 of them.
int64_t latent_tile(const CodecOptions& options, int64_t factor);

}  // namespace vmla::model
