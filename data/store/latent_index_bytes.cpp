#include "data/store/latent_index_bytes.h"

#include <concepts>

#include "data/store/byte_stream.h"

namespace vmla::data {

/// A struct to be packed (const) or unpacked.
template <class T, class Wanted>
concept Either = std::same_as<std::remove_const_t<T>, Wanted>;

template <Either<LatentInfo> Info, class Stream>
void stream_fields(Info& info, Stream& stream) {
  stream(info.codec), stream(info.codec_hash);
  stream(info.text_encoder), stream(info.text_encoder_hash);
  stream(info.fps), stream(info.pixel_height), stream(info.pixel_width), stream(info.pixel_frames);
  stream(info.clip_shape), stream(info.has_latents);
  stream(info.ode_times), stream(info.ode_fp32);
  stream(info.text_dim), stream(info.origin), stream(info.scene);
  stream(info.negative_prompt), stream(info.negative_text);
}

template <Either<ClipRecord> Clip, class Stream>
void stream_fields(Clip& clip, Stream& stream) {
  stream(clip.caption), stream(clip.source_file), stream(clip.first_frame), stream(clip.text_rows);
}

template <Either<SkippedVideo> Video, class Stream>
void stream_fields(Video& video, Stream& stream) {
  stream(video.file), stream(video.reason);
}

template <Either<PartInfo> Part, class Stream>
void stream_fields(Part& part, Stream& stream) {
  stream(part.job), stream(part.first_video), stream(part.end_video), stream(part.skipped);
}

template <Either<ClipArray> Array, class Stream>
void stream_fields(Array& array, Stream& stream) {
  stream(array.shape), stream(array.fp32), stream(array.bytes), stream(array.offsets);
}

template <Either<LatentIndex> Index, class Stream>
void stream_fields(Index& index, Stream& stream) {
  stream(index.info), stream(index.clips), stream(index.part), stream(index.empty_text);
  stream(index.places.latents), stream(index.places.ode);
  stream(index.places.text_rows), stream(index.places.text_offset);
  stream(index.text);
}

std::string pack_latent_index(const LatentIndex& index) {
  BytePacker packer;
  packer(index);
  return packer.bytes();
}

bool unpack_latent_index(std::string_view bytes, LatentIndex& index) {
  try {
    ByteUnpacker unpacker(bytes);
    unpacker(index);
    return unpacker.at_end();
  } catch (const WrongBytes&) {
    return false;
  }
}

}  // namespace vmla::data
