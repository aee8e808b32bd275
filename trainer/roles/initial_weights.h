#pragma once

#include "model/conversion/mla_from_dense.h"
#include "model/formats/load_weights.h"
#include "trainer/config/train_config.h"

#include <functional>
#include <string>
#include <vector>

/// Where the weights of a stage's roles come from before the first step: files that init_from
/// names, a conversion from dense to latent attention, or random numbers.
namespace vmla::trainer {

/// The weights that a role starts from, and how they came about.
struct InitialWeights {
  /// By their Wan names (docs/algorithms.md 2.2). Those of a file are mapped, not read.
  model::TensorMap tensors = {};
  /// Where they came from, for the log.
  std::string origin = {};
  /// Sizes of these weights.
  model::ModelConfig config = {};
  /// init.method, where it converted them; empty where they were taken as they are or drawn.
  std::string init_method = {};
  /// How latent attention came from dense weights, in this stage or in an earlier one that the
  /// source names; empty: it is not known to have.
  std::string first_init_method = {};
  /// weights_hash of what the source gave; empty where the weights were drawn or copied.
  std::string source_hash = {};
  /// What the conversion reports of each layer.
  std::vector<model::InitLayerReport> conversion = {};
};

/// Gives the moments of each layer of dense weights, for methods that calibrate.
using Calibrate = std::function<std::vector<model::LayerMoments>(const model::ModelConfig& dense,
                                                                 const model::TensorMap& tensors)>;

/// The entry of init_from that a role reads: its own, else that of the role whose weights it
/// shares. There need not be such an entry.
std::string source_role(const TrainConfig& config, const Role& role);

/// A score's own sizes: what its files state and their shapes show. Heads and text length, where
/// they are not stated, are those of the preset that `source` names, else dim / 128 and 512
/// (docs/algorithms.md 2.11); UserError where dim / 128 is no whole number.
model::ModelConfig score_config(const InitSource& source, const model::LoadedWeights& loaded);

/// Weights for `role` from init_from.SOURCE, where dense weights for latent attention are converted
/// by init.method; drawn from the seed where init_from has no such entry. `convert` runs the
/// layers' conversions, which ranks may share; `calibrate` is called where init.method needs it.
/// UserError, naming the keys, where the source does
/// not fit.
InitialWeights initial_weights(const TrainConfig& config,
                               const std::string& role,
                               const std::string& source,
                               const model::ConvertLayers& convert = model::convert_alone,
                               const Calibrate& calibrate = {});

/// Opens what init_from names and checks that each role can start from it, without building
/// anything: for a plan. Stages that have not run yet are passed over, and so are, with a warning,
/// weights that are not on this machine. Throws as initial_weights does.
void check_sources(const TrainConfig& config);

}  // namespace vmla::trainer
