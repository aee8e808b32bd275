#include "trainer/run_summary.h"

#include "analysis/rank/subspace.h"
#include "analysis/video/drift_summary.h"
#include "model/io/atomic_file.h"
#include "model/io/json_text.h"
#include "model/io/log.h"
#include "trainer/telemetry/process_memory.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace vmla::trainer {
namespace {

using Json = nlohmann::ordered_json;

/// JSON has no NaN: a figure that does not exist, or is not finite, is null.
Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

/// Measures of clips by section. `chunked`: they were sampled chunk by chunk.
Json measures_json(const analysis::ClipMeasures& measures, bool chunked) {
  Json json = Json::object();
  for (const auto& [section, figures] : analysis::figures_of(measures)) {
    // Retention is what later chunks keep of the first one; a model that makes all frames at once
    // has no chunks.
    if (section == "retention" && !chunked) continue;
    for (const auto& [name, value] : figures) json[section][name] = number(value);
  }
  return json;
}

/// Writes the measures of one way of sampling into `json`: the stage's own at the top, others below
/// a key.
void put_measures(const SampledMeasures& measures, bool chunked, Json& json) {
  if (measures.clips) json.update(measures_json(*measures.clips, chunked));
  if (!measures.long_rollout) return;
  json["drift"] = io::parse_json<Json>(analysis::drift_json(measures.long_rollout->drift), "drift");
  json["long_rollout"] = measures_json(measures.long_rollout->clips, true);
}

/// Effective ranks of each layer at the last measurement, those of matrices without structure
/// (null_, truncated_, shuffled_, gaussian_), and of the latents of held-out clips (latent_,
/// content_).
Json ranks_json(const analysis::RankLog& log) {
  Json json;
  const auto put = [&](const std::string& prefix, const std::vector<analysis::LayerRank>& layers) {
    for (const auto& layer : layers) {
      json[prefix + "r99"].push_back(layer.effective.r99);
      json[prefix + "r99_fractional"].push_back(layer.effective.r99_fractional);
      json[prefix + "stable_rank"].push_back(layer.effective.stable_rank);
      json[prefix + "entropy_rank"].push_back(layer.effective.entropy_rank);
      for (const int64_t rank : log.energy_ranks()) {
        json[formatted("{}energy_at_{}", prefix, rank)].push_back(
            analysis::energy_at(layer.spectrum, rank));
      }
    }
  };
  put("", log.measurements().back());
  put("null_", log.null());
  put("truncated_", log.nulls().truncated);
  put("shuffled_", log.nulls().shuffled);
  put("gaussian_", log.nulls().gaussian);
  const analysis::RankExtras& extras = log.extras().back();
  put("latent_", extras.latents);
  put("content_", extras.content);
  for (const analysis::Spectrum& cosines : extras.cosines)
    json["subspace_overlap"].push_back(analysis::subspace_overlap(cosines));
  const char* full = log.is_joint() ? "full_rank" : "kv_lora_rank";
  for (const auto& layer : log.measurements().back()) json[full].push_back(layer.rank);
  return json;
}

}  // namespace

void write_summary(const std::filesystem::path& run_dir,
                   const TrainConfig& config,
                   const Trainer& trainer,
                   const std::optional<StageMeasures>& measures) {
  Json json;
  json["stage"] = config.stage;
  json["step"] = trainer.state().step;
  json["samples_seen"] = trainer.state().samples_seen;
  json["parameters"] = model::parameter_count(config.model);
  json["losses"]["loss"] = number(trainer.last().loss());
  for (const auto& [player, figures] : trainer.last().players) {
    if (player != "generator") json["losses"]["loss_" + player] = number(figures.loss);
  }
  if (config.validation.every > 0)
    json["losses"]["validation_loss"] = number(trainer.last().validation_loss);
  if (measures) {
    put_measures(measures->own, measures->without_cache.has_value(), json);
    if (measures->without_cache)
      json["without_cache"] = measures_json(*measures->without_cache, true);
    if (measures->few_step.clips || measures->few_step.long_rollout)
      put_measures(measures->few_step, true, json["few_step"]);
  }
  if (!trainer.ranks().measurements().empty()) json["rank"] = ranks_json(trainer.ranks());
  json["speed"]["median_step_seconds"] = number(trainer.median_step_seconds());
  json["speed"]["seconds_trained"] = number(trainer.seconds_trained());
  if (config.rank.every > 0) json["speed"]["rank_seconds"] = number(trainer.rank_seconds());
  json["memory"]["peak_bytes"] = peak_memory_bytes();
  // No step was made by a process that found the stage finished: nothing was measured.
  if (const int64_t measured = trainer.tensor_peak_bytes(); measured > 0) {
    const int64_t predicted = trainer.predicted_bytes();
    json["memory"]["predicted_bytes"] = predicted;
    json["memory"]["measured_bytes"] = measured;
    json["memory"]["ratio"] = static_cast<double>(predicted) / static_cast<double>(measured);
  }
  io::write_file_atomically(run_dir / "summary.json", json.dump(2) + "\n");
}

std::string init_report_json(const std::string& method,
                             const std::vector<model::InitLayerReport>& layers) {
  Json json;
  json["method"] = method;
  const std::string note = model::dropped_bias_note(layers);
  if (!note.empty()) json["note"] = note;
  json["layers"] = Json::array();
  for (const auto& l : layers) {
    json["layers"].push_back({{"layer", l.layer},
                              {"kv_lora_rank", l.kv_rank},
                              {"q_lora_rank", l.q_rank},
                              {"kv_energy_kept", l.kv_energy_kept},
                              {"kv_error", l.kv_error},
                              {"kv_optimal_error", l.kv_optimal_error},
                              {"q_energy_kept", l.q_energy_kept},
                              {"rope_energy_lost", l.rope_energy_lost},
                              {"query_bias_lost", l.query_bias_lost},
                              {"rope_key_bias_lost", l.rope_key_bias_lost},
                              {"key_scale", l.key_scale},
                              {"value_scale", l.value_scale},
                              {"query_scale", l.query_scale}});
    if (l.refined_to >= 0) {
      json["layers"].back()["refined_from"] = l.refined_from;
      json["layers"].back()["refined_to"] = l.refined_to;
    }
    if (l.kv_activation_error >= 0)
      json["layers"].back()["kv_activation_error"] = l.kv_activation_error;
  }
  return json.dump(2) + "\n";
}

void write_init_report(const std::filesystem::path& run_dir, const InitialWeights& origin) {
  if (origin.init_method.empty()) return;
  io::write_file_atomically(run_dir / "init_report.json",
                            init_report_json(origin.init_method, origin.conversion));
  const std::string note = model::dropped_bias_note(origin.conversion);
  if (!note.empty()) log::warn(note);
  for (const auto& l : origin.conversion) {
    log::info(
        "  layer {}: energy kept of keys and values {:g} (rank {}), of queries {:g} (rank {}); "
        "lost by "
        "sharing the rotary key {:g}",
        l.layer,
        l.kv_energy_kept,
        l.kv_rank,
        l.q_energy_kept,
        l.q_rank,
        l.rope_energy_lost);
  }
}

}  // namespace vmla::trainer
