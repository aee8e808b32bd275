#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "launch/bench/bench_page.h"
#include "launch/bench/time_runs.h"
#include "trainer/config/train_config.h"

/// What `vmla bench` can time. Weights and clips are random numbers of the configuration's sizes,
/// so that neither has to be there.
namespace vmla::launch::bench {

struct Request {
  const trainer::TrainConfig& config;
  Repeats repeats;
  int64_t chunks = 12;                // of `stream`
  std::filesystem::path folder = {};  // of `checkpoint`: made, and removed at the end
  double disk_rate = 0;               // of `checkpoint`, bytes/s; 0: as the disk is
};

struct Outcome {
  std::string subject;
  std::vector<Row> rows;
};

// The stage.

/// The training step; where players are updated at different intervals (dmd), the cycle of steps
/// after which each has been.
Outcome time_step(const Request& request);
/// Norm, clipping, AdamW, moving averages and copies in the compute dtype, of the generator.
Outcome time_optimizer(const Request& request);
/// What training waits for while a checkpoint is written beside it.
Outcome time_checkpoint(const Request& request);

// The network.

/// A video drawn chunk by chunk: passes and cache, without text encoder and decoder.
Outcome time_stream(const Request& request);
/// Conversion of the dense twin by init.method, beside torch.linalg.svd of what it factorises.
Outcome time_init(const Request& request);
/// Effective rank of all layers, beside the singular values of the composed map.
Outcome time_rank(const Request& request);

// Clips.

/// data.path read clip by clip in the order of its files, beside plain reads of these, once they
/// are in the page cache.
Outcome time_data(const Request& request);
/// The codec of data.codec_weights: a clip decoded, and encoded where it can be.
Outcome time_vae(const Request& request);

}  // namespace vmla::launch::bench
