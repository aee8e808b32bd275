#include "launch/commands/analyze_init.h"

#include "analysis/study/init_score.h"
#include "analysis/study/pair_choice.h"
#include "analysis/study/rank_budget.h"
#include "data/store/latent_dataset.h"
#include "model/formats/load_weights.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "trainer/config/config_yaml.h"
#include "trainer/roles/calibrate.h"

#include <cstdio>
#include <optional>

namespace vmla::launch {
namespace {

/// The section `model` of the file over the dense model's sizes.
trainer::TrainConfig latent_config(const AnalyzeInitArgs& args, const model::LoadedWeights& dense) {
  trainer::TrainConfig base;
  base.model = dense.config;
  base.model.attention = "mla";
  base.model.preset.clear();
  trainer::TrainConfig config = trainer::read_config(args.config, args.set, base);
  if (!config.model.is_mla()) {
    fail_user("{}: model.attention is dense; the methods make latent attention, set it to mla",
              args.config);
  }
  config.train.device = "cpu";  // of the stage; this command computes here
  return config;
}

std::vector<model::InitMethod> methods_that_can_run(bool calibrated) {
  std::vector<model::InitMethod> methods;
  for (const model::InitMethod& method : model::kInitMethods) {
    if (calibrated || !method.calibrates) methods.push_back(method);
  }
  return methods;
}

/// "[0, 1], [2, 3]": the pairs of each layer, for clips of the dataset's most frequent shape.
std::string pair_lists(const model::ModelConfig& mla,
                       const model::LoadedWeights& dense,
                       const std::vector<model::LayerMoments>& moments,
                       const data::LatentInfo& clips) {
  const auto effect =
      analysis::rotation_effect(model::teacher_forcing_plan(mla, clips.clip_shape[0]),
                                model::token_grid(mla, clips.clip_shape[2], clips.clip_shape[3]),
                                mla.head_dim());
  std::string lists;
  for (const auto& layer : analysis::choose_pairs(mla, dense.tensors, moments, effect)) {
    std::string list;
    for (const int64_t pair : layer) list += formatted("{}{}", list.empty() ? "" : ", ", pair);
    lists += formatted("{}[{}]", lists.empty() ? "" : ", ", list);
  }
  return lists;
}

}  // namespace

int run(const AnalyzeInitArgs& args) {
  if (args.pairs && args.data.empty())
    fail_user("--pairs looks at activations: give a latent dataset to calibrate on, --data");
  const model::LoadedWeights dense = model::load_weights(args.weights, args.weights_role);
  const trainer::TrainConfig config = latent_config(args, dense);
  model::check_conversion_sizes(config.model, dense.config, dense.tensors);
  analysis::InitQuestion question{.mla = config.model,
                                  .dense = dense.config,
                                  .tensors = dense.tensors,
                                  .seed = static_cast<uint64_t>(config.seed),
                                  .methods = methods_that_can_run(!args.data.empty()),
                                  .moments = {},
                                  .held_out = {}};
  if (!args.data.empty()) {
    question.moments =
        trainer::calibrate(config, data::LatentDataset(args.data), dense.config, dense.tensors);
  }
  std::optional<data::LatentDataset> held_out;
  if (!args.held_out.empty()) {
    held_out.emplace(args.held_out);
    question.held_out = trainer::clips_to_run(config, *held_out, dense.config, args.held_out_clips);
    question.held_out.seed += 1;  // other noise than in calibration, should the clips be the same
  }
  const analysis::InitScores scores = analysis::score_inits(question);
  analysis::write_init_scores(scores, args.out);
  std::fputs(analysis::init_score_table(scores).c_str(), stdout);
  if (args.pairs) {
    const data::LatentDataset clips(args.data);
    std::fputs(formatted("rope_pair_indices: [{}]\n",
                         pair_lists(config.model, dense, question.moments, clips.info()))
                   .c_str(),
               stdout);
  }
  if (args.budget) {
    const auto ranks = analysis::rank_budget(config.model, dense.tensors, question.moments);
    std::string list;
    for (const int64_t rank : ranks) list += formatted("{}{}", list.empty() ? "" : ", ", rank);
    std::fputs(formatted("kv_lora_rank: [{}]\n", list).c_str(), stdout);
  }
  log::info("wrote {}/init_scores.csv, .json", args.out);
  return kDone;
}

}  // namespace vmla::launch
