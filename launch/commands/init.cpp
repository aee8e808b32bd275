#include "launch/commands/init.h"

#include <chrono>
#include <vector>

#include "launch/model_override.h"
#include "model/conversion/init_methods.h"
#include "model/conversion/mla_from_dense.h"
#include "model/formats/export_weights.h"
#include "model/formats/load_weights.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "trainer/roles/calibrate.h"
#include "trainer/run_summary.h"

namespace vmla::launch {

namespace {

void report(const std::vector<model::InitLayerReport>& layers) {
  for (const model::InitLayerReport& l : layers) {
    log::info(
        "layer {}: K/V error {:g} (optimal {:g}), energy kept {:g} at rank {}; queries {:g} at "
        "rank {}; rope energy lost {:g}",
        l.layer,
        l.kv_error,
        l.kv_optimal_error,
        l.kv_energy_kept,
        l.kv_rank,
        l.q_energy_kept,
        l.q_rank,
        l.rope_energy_lost);
    if (l.refined_to >= 0)
      log::info("layer {}: refined from {:g} to {:g}", l.layer, l.refined_from, l.refined_to);
  }
}

/// The moments that the method needs; none for one that works on weights alone. An unknown method
/// is refused by the conversion.
std::vector<model::LayerMoments> calibrated(const InitArgs& args,
                                            const trainer::TrainConfig& config,
                                            const model::LoadedWeights& dense,
                                            const std::string& name) {
  const model::InitMethod* method = model::find_init_method(name);
  if (!method || !method->calibrates) {
    if (!args.data.empty()) log::warn("{} works on weights alone: {} is not read", name, args.data);
    return {};
  }
  if (args.data.empty()) {
    fail_user("init.method {} looks at activations: give a latent dataset to calibrate on, --data",
              name);
  }
  return trainer::calibrate(config, data::LatentDataset(args.data), dense.config, dense.tensors);
}

}  // namespace

int run(const InitArgs& args) {
  const model::LoadedWeights dense = model::load_weights(args.weights, args.weights_role);
  const trainer::TrainConfig config =
      latent_config(dense, args, "init writes a model with latent attention");
  const std::string method =
      config.init.method.empty() ? std::string(model::kDefaultInitMethod) : config.init.method;
  const auto moments = calibrated(args, config, dense, method);
  const auto begin = std::chrono::steady_clock::now();
  model::MlaInit init = model::init_mla_from_dense(config.model,
                                                   dense.config,
                                                   dense.tensors,
                                                   method,
                                                   static_cast<uint64_t>(config.seed),
                                                   model::convert_alone,
                                                   moments,
                                                   config.init.refine_steps);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  log::info("{} layers converted in {:.1f} s", config.model.num_layers, seconds.count());
  model::LoadedWeights result;
  result.config = config.model;
  result.config_is_complete = true;
  result.stated.init_method = method;
  result.tensors = std::move(init.tensors);
  result.source = formatted("{}, converted by {}", dense.source, method);
  model::export_weights(
      result,
      {.format = "videomla",
       .dtype = std::nullopt,
       .extra_files = {{"init_report.json", trainer::init_report_json(method, init.layers)}}},
      args.out);
  report(init.layers);
  const std::string note = model::dropped_bias_note(init.layers);
  if (!note.empty()) log::warn(note);
  log::info("wrote {} ({})", args.out, method);
  return kDone;
}

}  // namespace vmla::launch
