#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace vmla::kernels {

/// What a draw is for. Numbered for ever: checkpoints and comparisons rely on the numbers.
enum class Purpose : uint32_t {
  kInit = 1,             // new weights; step 0, sample = tensor
  kDataOrder = 2,        // permutation of an epoch; step = epoch
  kNoise = 3,            // Gaussian noise added to latents
  kTimestep = 4,         // training timesteps
  kCaptionDropout = 5,
  kValidationNoise = 6,  // step 0: the same for ever
  kValidationTimestep = 7,
  kSampleNoise = 8,      // initial noise of a sampled video; step = chunk, sample = prompt
  kSampleRenoise = 9,    // fresh noise between few-step passes
  kExitStep = 10,
  kRenoise = 11,
  kScoreTimestep = 12,
  kScoreNoise = 13,
  kConsistencyIndex = 14,
  kSynthetic = 15,       // synthetic clips
  kTextHash = 16,        // hashing text encoder
  kNull = 17,            // null baselines of the rank analysis
};

/// The address of a draw. Equal addresses give equal numbers on every world size, thread count and device.
struct DrawKey {
  uint64_t seed = 0;
  uint64_t step = 0;
  Purpose purpose = Purpose::kInit;
  uint32_t role = 0;    // hash_role(name): draws of different roles are independent
  uint64_t sample = 0;  // index in the step's global batch
};

/// A stable 32-bit hash of a role's name.
uint32_t hash_role(std::string_view name);

/// Four 32-bit words of Philox4x32-10: key from (seed, purpose, role), counter from (block, step, sample).
struct PhiloxWords {
  uint32_t w[4];
};
PhiloxWords philox_block(const DrawKey& key, uint64_t block);

/// The i-th uniform double in [0, 1) of `key` (53 bits).
double uniform_at(const DrawKey& key, uint64_t i);
/// An integer in [0, n), without modulo bias beyond 2^-53.
int64_t uniform_index(const DrawKey& key, int64_t n, uint64_t i = 0);

/// Standard normals in fp32 on the CPU: element i depends on (key, i) alone, never on the size asked for.
at::Tensor normal(const DrawKey& key, at::IntArrayRef sizes);
/// Uniforms in [0, 1), fp32, likewise.
at::Tensor uniform(const DrawKey& key, at::IntArrayRef sizes);
/// Stacks normal(key with sample = first_sample + b) over b = 0..batch-1: [batch, sizes...].
at::Tensor normal_batch(DrawKey key, uint64_t first_sample, int64_t batch, at::IntArrayRef sizes);

}  // namespace vmla::kernels
