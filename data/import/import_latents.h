#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/store/latent_file_format.h"
#include "model/codec/text_encoder_options.h"

namespace vmla::data {

/// One `vmla data import`.
struct ImportOptions {
  std::string from = "lmdb";  // layout: or "tar"
  std::filesystem::path in;   // data/import/lmdb_rows.h, data/import/tar_rows.h
  std::filesystem::path out;  // the dataset file
  std::string codec = "wan-vae";
  std::string text = "umt5";
  model::TextEncoderOptions text_options;
  double fps = 16;                // of the videos that the latents were made of
  std::vector<int64_t> states;    // of an ODE path, those that are kept; empty: by their number
  std::vector<double> ode_times;  // timesteps of the kept states; empty: likewise
  bool ode_fp32 = false;          // states are stored as floats
  bool normalize = false;         // the latents are raw: they are normalised on the way
  double part_seconds = 15;       // what a kill may cost
  bool overwrite = false;         // replace an existing `out`
};

struct ImportReport {
  int64_t clips = 0;
  int64_t rows = 0;                   // of the source
  int64_t resumed = 0;                // of them found done by an earlier, killed job
  std::vector<SkippedVideo> skipped;  // rows that are damaged, not finite or have no prompt
  double seconds = 0;
};

/// Latents and prompts that another trainer stored, as a dataset: clean clips, or with /ode where a
/// row holds the states of an ODE path. Embeddings of the text encoder's width that are stored are
/// taken as they are, and text_encoder_hash is empty then, since what made them is not known; other
/// captions are embedded. Where all are stored, an encoder needs no weights; without them there is
/// no embedding of the empty prompt. Atomic and
/// resumable as data/encode/encode_videos.h; rows that are left out are listed in NAME.skipped.csv.
/// UserError where nothing can be imported, or where the latents' statistics say that they are raw
/// and `normalize` is not set, or the reverse.
ImportReport import_latents(const ImportOptions& options);

}  // namespace vmla::data
