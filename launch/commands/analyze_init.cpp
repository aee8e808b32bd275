#include "launch/commands/analyze_init.h"

#include "analysis/study/init_score.h"
#include "analysis/study/pair_choice.h"
#include "analysis/study/rank_budget.h"
#include "data/store/latent_dataset.h"
#include "launch/model_override.h"
#include "model/formats/load_weights.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "trainer/config/config_node.h"
#include "trainer/roles/calibrate.h"

#include <cstdio>
#include <optional>

namespace vmla::launch {
namespace {

std::vector<model::InitMethod> methods_that_can_run(bool calibrated) {
  std::vector<model::InitMethod> methods;
  for (const model::InitMethod& method : model::kInitMethods) {
    if (calibrated || !method.calibrates) methods.push_back(method);
  }
  return methods;
}

/// "[8, 24, 16]".
std::string list_of(const std::vector<int64_t>& numbers) {
  std::vector<std::string> words;
  for (const int64_t number : numbers) words.push_back(std::to_string(number));
  return formatted("[{}]", trainer::join(words));
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
    lists += formatted("{}{}", lists.empty() ? "" : ", ", list_of(layer));
  }
  return lists;
}

}  // namespace

int run(const AnalyzeInitArgs& args) {
  if (args.pairs && args.data.empty())
    fail_user("--pairs looks at activations: give a latent dataset to calibrate on, --data");
  const model::LoadedWeights dense = model::load_weights(args.weights, args.weights_role);
  const trainer::TrainConfig config =
      latent_config(dense, args, "the methods make latent attention");
  model::check_conversion_sizes(config.model, dense.config, dense.tensors);
  analysis::InitQuestion question{.mla = config.model,
                                  .dense = dense.config,
                                  .tensors = dense.tensors,
                                  .seed = static_cast<uint64_t>(config.seed),
                                  .refine_steps = config.init.refine_steps,
                                  .methods = methods_that_can_run(!args.data.empty()),
                                  .moments = {},
                                  .held_out = {}};
  std::optional<data::LatentDataset> clips;
  if (!args.data.empty()) {
    clips.emplace(args.data);
    question.moments = trainer::calibrate(config, *clips, dense.config, dense.tensors);
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
    std::fputs(formatted("rope_pair_indices: [{}]\n",
                         pair_lists(config.model, dense, question.moments, clips->info()))
                   .c_str(),
               stdout);
  }
  if (args.budget) {
    const auto ranks = analysis::rank_budget(config.model, dense.tensors, question.moments);
    std::fputs(formatted("kv_lora_rank: {}\n", list_of(ranks)).c_str(), stdout);
  }
  log::info("wrote {}/init_scores.csv, .json", args.out);
  return kDone;
}

}  // namespace vmla::launch
