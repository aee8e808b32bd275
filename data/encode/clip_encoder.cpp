#include "data/encode/clip_encoder.h"

#include <ATen/ATen.h>

#include "model/codec/text_encoder.h"
#include "model/codec/video_codec.h"

namespace vmla::data {

EncodedClip ClipEncoder::encode(const DecodedClip& clip, const VideoEntry& video) {
  const at::Tensor bytes = at::from_blob(const_cast<uint8_t*>(clip.rgb_FHW3.data()),
                                         {clip.frames, clip.height, clip.width, 3},
                                         at::kByte);
  const at::Tensor pixels_F3HW = bytes.permute({0, 3, 1, 2}).to(at::kFloat).div(127.5).sub(1.0);
  EncodedClip out;
  set_latents(out, codec_.encode(pixels_F3HW));
  const std::string caption = video.caption.value_or("");
  set_caption(out, caption, caption_rows(caption), text_.text_dim());
  out.record.source_file = video.file;
  out.record.first_frame = clip.first_frame;
  return out;
}

const std::vector<float>& ClipEncoder::caption_rows(const std::string& caption) {
  if (caption != last_caption_ || last_rows_.empty()) {
    last_caption_ = caption;
    last_rows_ = text_rows(text_, caption);
  }
  return last_rows_;
}

}  // namespace vmla::data
