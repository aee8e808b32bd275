#include "launch/commands/data_encode.h"

namespace vmla::launch {

const CommandText DataEncodeArgs::kText = {
    "data encode",
    "turns videos and captions into a latent dataset",
    R"(Every video is decoded in a process of its own: one that cannot be read is skipped, counted and listed.
Frames are resampled in time, resized keeping their aspect, cropped, encoded; captions are embedded. The result
is one HDF5 file (docs/formats.md), complete or absent; an interrupted job goes on. Captions stand in captions.csv,
captions.jsonl, metadata.csv or metadata.jsonl (file or file_name or video; caption or prompt or text), or in NAME.txt
beside NAME.mp4.

Examples:
  vmla data encode --videos videos --out clips.h5 --frames 9 --height 16 --width 16 --fps 8
  vmla data encode --videos videos --out clips.h5 --frames 81 --height 480 --width 832 --fps 16 \
    --codec wan-vae --codec-weights Wan2.1-T2V-1.3B-Diffusers/vae
  vmla data encode --videos videos --out clips --sizes 480x832,832x480 --frames 81 --fps 16 \
    --codec wan-vae --codec-weights Wan2.1-T2V-1.3B-Diffusers/vae)"};

void DataEncodeArgs::define(OptionSet& options) {
  options
      .text("--videos",
            videos,
            "DIR",
            "folder of videos (.mp4, .webm, .mkv, .gif, ...) with their captions file")
      .required();
  options
      .text("--out",
            out,
            "FILE.h5",
            "dataset to write, or with --sizes a folder; an interrupted job "
            "goes on where it stopped")
      .required();
  options.text("--codec", codec, "TEXT", "video codec: space_to_depth:N or wan-vae")
      .shows_default();
  add_codec_weights(options, codec_weights);
  options.text("--text", text, "TEXT", "text encoder").shows_default();
  add_text_files(options, *this);
  options.text("--negative-prompt",
               negative_prompt,
               "TEXT",
               "stored with its embedding, for training and sampling that steer away from it");
  options.integer_from_1("--frames", frames, "pixel frames of a clip").shows_default();
  options.integer_from_1("--height", height, "pixel rows after resize and crop (default: 16)");
  options.integer_from_1("--width", width, "pixel columns after resize and crop (default: 16)");
  options.text("--sizes",
               sizes,
               "HxW,HxW...",
               "several heights and widths: each video is encoded at the one nearest to its aspect "
               "ratio, and --out becomes a folder with a dataset file a size");
  options.number_above_0("--fps", fps, "frames a second after resampling in time").shows_default();
  options.integer_from_0("--stride", stride, "frames between the starts of two clips; 0: --frames")
      .shows_default();
  options
      .integer_from_0("--max-clips", max_clips, "most clips taken from one video; 0: all that fit")
      .shows_default();
  options
      .integer_from_0("--hold-out-every",
                      hold_out_every,
                      "hold out every K-th clip of a video, for validation; 0: none")
      .shows_default();
  options.flag("--held-out", held_out, "encode the held-out clips instead of the others");
  options.integer_from_0("--threads", threads, "videos decoded at once; 0: one a core")
      .shows_default();
  add_tile(options, tile);
  add_compute(options, *this, "of codec and text encoder, where they have weights");
  add_overwrite(options, overwrite, "dataset");
  options.number_above_0("--timeout", timeout_seconds, "seconds a video may take to decode")
      .shows_default();
}

}  // namespace vmla::launch
