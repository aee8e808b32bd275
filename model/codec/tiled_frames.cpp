#include "model/codec/tiled_frames.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "kernels/host_transfer.h"
#include "model/io/error.h"

namespace vmla::model {
namespace {

/// A tile's place, in latent rows and columns, and how much of each position it makes: the product
/// of its row's share and its column's.
struct Tile {
  TileSpan rows, columns;
  at::Tensor row_shares, column_shares;  // fp32, by output row and column
};

/// Adjacent tiles share at least a quarter of a tile.
int64_t overlap_of(int64_t tile) {
  return std::max<int64_t>(1, tile / 4);
}

/// How much a span counts at each of its positions: a ramp over the overlap on each side where it
/// has a neighbour, 1 in between. `scale`: positions a latent row or column.
at::Tensor ramp(const TileSpan& span, int64_t extent, int64_t tile, int64_t scale) {
  const int64_t size = span.size * scale;
  const auto overlap = static_cast<double>(overlap_of(tile) * scale);
  at::Tensor weights = at::ones({size}, at::kDouble);
  auto values = weights.accessor<double, 1>();
  for (int64_t i = 0; i < size; ++i) {
    const double from_begin = (static_cast<double>(i) + 0.5) / overlap;
    const double from_end = (static_cast<double>(size - 1 - i) + 0.5) / overlap;
    if (span.begin > 0) values[i] = std::min(values[i], from_begin);
    if (span.begin + span.size < extent) values[i] = std::min(values[i], from_end);
  }
  return weights;
}

/// For each span its share of each of its positions: the shares of all spans at one position add up
/// to 1.
std::vector<at::Tensor> shares_of(const std::vector<TileSpan>& spans,
                                  int64_t extent,
                                  int64_t tile,
                                  int64_t scale) {
  at::Tensor sum = at::zeros({extent * scale}, at::kDouble);
  std::vector<at::Tensor> shares;
  for (const TileSpan& span : spans) {
    shares.push_back(ramp(span, extent, tile, scale));
    sum.narrow(0, span.begin * scale, span.size * scale).add_(shares.back());
  }
  for (size_t i = 0; i < spans.size(); ++i) {
    const at::Tensor part = sum.narrow(0, spans[i].begin * scale, spans[i].size * scale);
    shares[i] = shares[i].div(part).to(at::kFloat);
  }
  return shares;
}

/// The tiles of a picture of `height` x `width` latents. `scale`: output rows to a latent row.
/// `device`: where they are put together.
std::vector<Tile> tiles_of(
    const TiledFrames& frames, int64_t height, int64_t width, int64_t scale, at::Device device) {
  const int64_t overlap = overlap_of(frames.tile);
  const auto rows = tile_spans(height, frames.tile, overlap);
  const auto columns = tile_spans(width, frames.tile, overlap);
  const auto shares = [&](const std::vector<TileSpan>& spans, int64_t extent) {
    auto parts = shares_of(spans, extent, frames.tile, scale);
    for (at::Tensor& part : parts) part = kernels::upload(part, device);
    return parts;
  };
  const auto row_shares = shares(rows, height), column_shares = shares(columns, width);
  std::vector<Tile> tiles;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < columns.size(); ++j) {
      tiles.push_back({rows[i], columns[j], row_shares[i], column_shares[j]});
    }
  }
  return tiles;
}

/// Adds a tile of a frame, [rows, columns, C], to its place in pictures [F, C, H, W].
void add_tile(const at::Tensor& pictures_FCHW,
              int64_t frame,
              const Tile& tile,
              int64_t scale,
              const at::Tensor& part_HWC) {
  const at::Tensor part_CHW = part_HWC.permute({2, 0, 1}).to(pictures_FCHW.options());
  pictures_FCHW.select(0, frame)
      .narrow(1, tile.rows.begin * scale, tile.rows.size * scale)
      .narrow(2, tile.columns.begin * scale, tile.columns.size * scale)
      .add_(part_CHW * tile.row_shares.unsqueeze(1) * tile.column_shares);
}

/// A tile of a frame of [F, C, H, W], as [rows, columns, C].
at::Tensor tile_of(const at::Tensor& pictures_FCHW,
                   int64_t frame,
                   const Tile& tile,
                   int64_t scale) {
  return pictures_FCHW.select(0, frame)
      .narrow(1, tile.rows.begin * scale, tile.rows.size * scale)
      .narrow(2, tile.columns.begin * scale, tile.columns.size * scale)
      .permute({1, 2, 0})
      .contiguous();
}

/// One video, of which each tile is decoded by a decoder of its own.
class TiledDecoder final : public VideoDecoder {
 public:
  explicit TiledDecoder(const TiledFrames& frames) : frames_(frames) {}

  at::Tensor next(const at::Tensor& latents_FCHW) override {
    return decode(latents_FCHW, /*is_last=*/false);
  }

  /// `is_last`: nothing follows, so that each tile's decoder goes as soon as its tile is done.
  at::Tensor decode(const at::Tensor& latents_FCHW, bool is_last) {
    TORCH_CHECK(latents_FCHW.dim() == 4 && latents_FCHW.size(0) > 0 &&
                    latents_FCHW.size(1) == frames_.geometry.latent_channels,
                "latents must be [F, ",
                frames_.geometry.latent_channels,
                ", h, w], got ",
                latents_FCHW.sizes());
    const at::NoGradGuard no_grad;
    const int64_t count = latents_FCHW.size(0), factor = frames_.geometry.spatial_factor;
    begin(latents_FCHW);
    const int64_t first = seen_ > 0 ? frames_.geometry.pixel_frames(seen_) : 0;
    const int64_t end = frames_.geometry.pixel_frames(seen_ + count);
    at::Tensor pixels =
        at::zeros({end - first, 3, height_ * factor, width_ * factor}, latents_FCHW.options());
    for (size_t i = 0; i < tiles_.size(); ++i) {
      if (!decoders_[i]) decoders_[i] = frames_.new_decoder();
      int64_t frame = 0;
      for (int64_t f = 0; f < count; ++f) {
        decoders_[i](tile_of(latents_FCHW, f, tiles_[i], 1), [&](const at::Tensor& part_HW3) {
          add_tile(pixels, frame++, tiles_[i], factor, part_HW3);
        });
      }
      TORCH_CHECK(frame == end - first, "a decoder emitted another number of frames: ", frame);
      if (is_last) decoders_[i] = nullptr;
    }
    seen_ += count;
    return pixels;
  }

 private:
  void begin(const at::Tensor& latents_FCHW) {
    const int64_t height = latents_FCHW.size(2), width = latents_FCHW.size(3);
    if (seen_ > 0) {
      TORCH_CHECK(height == height_ && width == width_, "a video's pieces must have one size");
      return;
    }
    height_ = height;
    width_ = width;
    tiles_ =
        tiles_of(frames_, height, width, frames_.geometry.spatial_factor, latents_FCHW.device());
    decoders_.resize(tiles_.size());
  }

  TiledFrames frames_;
  int64_t seen_ = 0;  // latent frames
  int64_t height_ = 0, width_ = 0;
  std::vector<Tile> tiles_;
  std::vector<FrameDecoder> decoders_;
};

}  // namespace

std::vector<TileSpan> tile_spans(int64_t extent, int64_t tile, int64_t overlap) {
  if (tile == 0 || tile >= extent) return {{0, extent}};
  std::vector<TileSpan> spans;
  const int64_t step = std::max<int64_t>(1, tile - overlap);
  for (int64_t begin = 0; spans.empty() || spans.back().begin + tile < extent; begin += step) {
    spans.push_back({std::min(begin, extent - tile), tile});
  }
  return spans;
}

at::Tensor TiledFrames::decode(const at::Tensor& latents_FCHW) const {
  return TiledDecoder(*this).decode(latents_FCHW, /*is_last=*/true);
}

std::unique_ptr<VideoDecoder> TiledFrames::start_decoding() const {
  return std::make_unique<TiledDecoder>(*this);
}

at::Tensor TiledFrames::encode(const at::Tensor& pixels_F3HW) const {
  const int64_t factor = geometry.spatial_factor, count = pixels_F3HW.size(0);
  const int64_t height = pixels_F3HW.size(2) / factor, width = pixels_F3HW.size(3) / factor;
  const std::vector<Tile> tiles = tiles_of(*this, height, width, /*scale=*/1, pixels_F3HW.device());
  at::Tensor latents = at::zeros(
      {1 + (count - 1) / geometry.temporal_factor, geometry.latent_channels, height, width},
      pixels_F3HW.options());
  for (size_t i = 0; i < tiles.size(); ++i) {
    const FrameEncoder encoder = new_encoder();
    int64_t frame = 0;
    for (int64_t f = 0; f < count; ++f) {
      const at::Tensor latent = encoder(tile_of(pixels_F3HW, f, tiles[i], factor));
      if (latent.defined()) add_tile(latents, frame++, tiles[i], 1, latent);
    }
  }
  return latents;
}

at::Tensor FrameCodec::encode(const at::Tensor& pixels_F3HW) const {
  TORCH_CHECK(pixels_F3HW.dim() == 4 && pixels_F3HW.size(1) == 3,
              "pixels must be [F, 3, H, W], got ",
              pixels_F3HW.sizes());
  const int64_t frames = pixels_F3HW.size(0), height = pixels_F3HW.size(2),
                width = pixels_F3HW.size(3);
  const CodecGeometry& geometry = frames_.geometry;
  if (!frames_.new_encoder) fail_user("codec {} decodes alone; encode with wan-vae", name_);
  if (frames < 1 || (frames - 1) % geometry.temporal_factor != 0) {
    fail_user("codec {}: clips have 1, {}, {}, ... frames, this one has {}",
              name_,
              geometry.pixel_frames(2),
              geometry.pixel_frames(3),
              frames);
  }
  const int64_t factor = geometry.spatial_factor;
  if (height < 1 || width < 1 || height % factor != 0 || width % factor != 0) {
    fail_user("codec {}: pictures of {}x{} are no multiple of {}", name_, height, width, factor);
  }
  const at::NoGradGuard no_grad;
  return frames_.encode(pixels_F3HW.to(at::kFloat));
}

at::Tensor FrameCodec::decode(const at::Tensor& latents_FCHW) const {
  const at::NoGradGuard no_grad;
  return frames_.decode(latents_FCHW.to(at::kFloat));
}

std::unique_ptr<VideoDecoder> FrameCodec::start_decoding() const {
  return frames_.start_decoding();
}

int64_t latent_tile(const CodecOptions& options, int64_t factor) {
  if (options.tile % factor == 0 && (options.tile == 0 || options.tile >= 8 * factor)) {
    return options.tile / factor;
  }
  fail_user("a tile of {} pixels: tiles must be a multiple of {}, and {} or more",
            options.tile,
            factor,
            8 * factor);
}

}  // namespace vmla::model
