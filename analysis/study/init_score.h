#pragma once

#include "model/conversion/calibration.h"
#include "model/conversion/init_methods.h"
#include "model/conversion/mla_from_dense.h"

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

/// How far the ways of making latent attention out of a dense model miss it, before any training
/// (docs/algorithms.md 5.8).
namespace vmla::analysis {

constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

/// One layer. Errors are relative, root mean square: 0 is exact, 1 is as bad as zeros. Those of
/// keys and values leave a common factor out, which the norms decide.
struct LayerScore {
  double weight_error = kNotMeasured;  // of the content keys' and values' weights
  double key_error = kNotMeasured;     // of content keys and of values on the held-out tokens
  double value_error = kNotMeasured;
  double rope_energy_kept = kNotMeasured;  // by one key for all heads; not of a random start
  double output_error = kNotMeasured;      // of attention's output, given what the dense layer sees
  // Of what the method makes small, before and after refinement (model::refine), on its own terms.
  double refined_from = kNotMeasured, refined_to = kNotMeasured;
};

struct MethodScore {
  std::string method;
  std::vector<LayerScore> layers;
  double velocity_error = kNotMeasured;  // of the flow, relative to the dense model's
  double first_loss = kNotMeasured;      // mean squared error of the flow, before any step
};

struct InitScores {
  std::vector<MethodScore> methods;
  double dense_loss = kNotMeasured;
};

struct InitQuestion {
  const model::ModelConfig& mla;
  const model::ModelConfig& dense;
  const std::map<std::string, at::Tensor>& tensors;
  uint64_t seed = 0;
  int64_t refine_steps = 0;  // init.refine_steps
  std::vector<model::InitMethod> methods;
  /// For methods that calibrate; else empty.
  std::vector<model::LayerMoments> moments;
  /// Clips that nothing was calibrated on; none: weights alone are compared.
  model::CalibrationSettings held_out;
};

/// Scores the methods, layers side by side.
InitScores score_inits(const InitQuestion& question);

/// Writes init_scores.csv and init_scores.json into the folder `out` (made if missing).
void write_init_scores(const InitScores& scores, const std::filesystem::path& out);

/// One line a method: means over the layers.
std::string init_score_table(const InitScores& scores);

}  // namespace vmla::analysis
