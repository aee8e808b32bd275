#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace vmla::kernels {

/// What a draw is for: the use that it belongs to, part of its address. The numbers must never
/// change: resumed runs and comparisons with other programs rely on them.
enum class Purpose : uint32_t {
  kInit = 1,       // new weights; step 0, sample = tensor
  kDataOrder = 2,  // permutation of an epoch; step = epoch
  kNoise = 3,      // Gaussian noise added to latents
  kTimestep = 4,   // training timesteps
  kCaptionDropout = 5,
  kValidationNoise = 6,  // step 0: the same for ever
  kValidationTimestep = 7,
  kSampleNoise = 8,    // initial noise of a sampled video; step = latent frame
  kSampleRenoise = 9,  // fresh noise between few-step passes; step = latent frame, sample = pass
  kExitStep = 10,
  kRenoise = 11,
  kScoreTimestep = 12,
  kScoreNoise = 13,
  kConsistencyIndex = 14,
  kSynthetic = 15,  // synthetic clips
  kTextHash = 16,   // hashing text encoder
  kNull = 17,       // null baselines of the rank analysis
  kOdeNoise = 18,   // where the ODE of a stored pair starts
  kOdeIndex = 19,   // which state of an ODE pair
  kRolloutNoise = 20,
  kRolloutLength = 21,
  kContextNoise = 22,  // of the pass that fills the cache
};

/// The address of a draw (docs/algorithms.md 12.2). Equal addresses give equal numbers, whatever
/// the number of ranks and threads. What `step` and `sample` count depends on the purpose.
struct DrawKey {
  uint64_t seed = 0;
  uint64_t step = 0;
  Purpose purpose = Purpose::kInit;
  uint32_t role = 0;    // hash_role(name): draws of different roles are independent
  uint64_t sample = 0;  // mostly the index in the step's global batch
};

/// A 32-bit hash of a role's name that never changes (FNV-1a).
uint32_t hash_role(std::string_view name);

/// Four 32-bit words of Philox4x32-10 (docs/algorithms.md 12.1). The packing never changes:
///   counter = (block low 32, block high 32, step low 32, sample low 32)
///   key     = low and high 32 bits of h3, where, with the finaliser mix of SplitMix64 and g =
///   0x9E3779B97F4A7C15,
///     h1 = mix(seed + g), h2 = mix((h1 ^ (purpose | role << 32)) + g),
///     h3 = mix((h2 ^ (step >> 32 | (sample >> 32) << 32)) + g)
/// So steps and samples below 2^32 are told apart by the counter, without any chance of collision;
/// seed, purpose, role and the high halves by a 64-bit hash.
struct PhiloxWords {
  uint32_t w[4];
};
PhiloxWords philox_block(const DrawKey& key, uint64_t block);

/// The i-th uniform double in [0, 1) of `key`: the high 53 bits of words (2(i%2), 2(i%2)+1) of
/// block i/2.
double uniform_at(const DrawKey& key, uint64_t i);
/// An integer in [0, n), without modulo bias beyond 2^-53.
int64_t uniform_index(const DrawKey& key, int64_t n, uint64_t i = 0);

/// Standard normals in fp32 on the CPU. Element i depends on (key, i) alone, not on the size asked
/// for: Box-Muller on the words of block i/4 (draw_cpu.h), with the same bits on every CPU.
at::Tensor normal(const DrawKey& key, at::IntArrayRef sizes);
/// Uniforms in [0, 1), fp32, likewise.
at::Tensor uniform(const DrawKey& key, at::IntArrayRef sizes);
/// Stacks normal(key with sample = first_sample + b) over b = 0..batch-1: [batch, sizes...].
at::Tensor normal_batch(DrawKey key, uint64_t first_sample, int64_t batch, at::IntArrayRef sizes);

}  // namespace vmla::kernels
