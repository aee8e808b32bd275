#include "launch/commands/init.h"

#include "model/conversion/init_methods.h"
#include "model/conversion/mla_from_dense.h"
#include "model/formats/export_weights.h"
#include "model/formats/load_weights.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "trainer/config/config_yaml.h"
#include "trainer/run_summary.h"

namespace vmla::launch {

int run(const InitArgs& args) {
  const model::LoadedWeights dense = model::load_weights(args.weights, args.weights_role);
  // The sizes outside self-attention are the dense model's; the file's section `model` says the
  // latent ones.
  trainer::TrainConfig base;
  base.model = dense.config;
  base.model.attention = "mla";
  base.model.preset.clear();
  const trainer::TrainConfig config = trainer::read_config(args.config, args.set, base);
  if (!config.model.is_mla())
    fail_user("{}: model.attention is dense: init writes a latent-attention model (mla)",
              args.config);
  const std::string method =
      config.init.method.empty() ? std::string(model::kDefaultInitMethod) : config.init.method;
  if (!args.data.empty()) log::warn("{} works on weights alone: {} is not read", method, args.data);
  model::MlaInit init = model::init_mla_from_dense(
      config.model, dense.config, dense.tensors, method, static_cast<uint64_t>(config.seed));
  model::LoadedWeights result;
  result.config = config.model;
  result.config_is_complete = true;
  result.stated.init_method = method;
  result.tensors = std::move(init.tensors);
  result.source = formatted("{}, converted by {}", dense.source, method);
  model::export_weights(
      result,
      {.layout = model::WeightLayout::kVideomla,
       .dtype = std::nullopt,
       .extra_files = {{"init_report.json", trainer::init_report_json(method, init.layers)}}},
      args.out);
  for (const auto& l : init.layers) {
    log::info(
        "layer {}: K/V error {:g} (optimal {:g}), energy kept {:g} at rank {}; queries {:g} at "
        "rank {}; "
        "rope energy lost {:g}",
        l.layer,
        l.kv_error,
        l.kv_optimal_error,
        l.kv_energy_kept,
        l.kv_rank,
        l.q_energy_kept,
        l.q_rank,
        l.rope_energy_lost);
  }
  const std::string note = model::dropped_bias_note(init.layers);
  if (!note.empty()) log::warn(note);
  log::info("wrote {} ({})", args.out, method);
  return kDone;
}

}  // namespace vmla::launch
