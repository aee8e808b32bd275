#include "model/formats/export_format.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "model/config/config_json.h"
#include "model/formats/python_reference.h"
#include "model/io/error.h"
#include "model/io/json_text.h"

namespace vmla::model {
namespace {

using Json = nlohmann::ordered_json;
using Header = std::map<std::string, std::string>;

// Whose classes and fields the diffusers folders have: the version that they are tested with
// (tests/requirements.txt). Its readers warn of files of a newer one than themselves.
constexpr std::string_view kDiffusersVersion = "0.36.0";

std::string json_text(const Json& json) {
  return json.dump(2) + "\n";
}

TextFile wan_config(const ExportSource& source) {
  return {"config.json", wan_config_json(source.config)};
}

TextFile videomla_config(const ExportSource& source) {
  return {"config.json", videomla_config_json(source.config, source.init_method)};
}

std::vector<TextFile> wan_texts(const ExportSource& source) {
  return {wan_config(source)};
}

std::vector<TextFile> pt_texts(const ExportSource& source) {
  return {source.config.is_mla() ? videomla_config(source) : wan_config(source)};
}

std::vector<TextFile> diffusers_texts(const ExportSource& source) {
  return {{"config.json", diffusers_config_json(source.config)}};
}

/// Noise level of the uniform u under a timestep shift (docs/algorithms.md 7.4).
double shifted(double u, double shift) {
  return shift * u / (1 + (shift - 1) * u);
}

/// The entry of LightX2V's table of a thousand times that is nearest to `time`, as the network sees
/// it: 0.999 (1 - i / 1000) under the shift, in thousandths rounded down.
int64_t nearest_lightx2v_index(double time, double shift) {
  constexpr int64_t kEntries = 1000;
  int64_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < kEntries; ++i) {
    const double u = 0.999 * (1 - static_cast<double>(i) / kEntries);
    const double distance = std::abs(std::floor(1000 * shifted(u, shift)) - time);
    if (distance < least) best = i;
    least = std::min(least, distance);
  }
  return best;
}

/// How LightX2V's causal runner denoises a chunk. It re-noises between the times of a list and
/// knows no other sampler, so that a many-step model has no list here. Present versions take the
/// list as the network sees it, after the shift; those before it take entries of a table, of which
/// the nearest are given. Where both stand, the list is used.
Json lightx2v_sampling(const ModelConfig& config, const SamplingFacts& sampling) {
  Json ar = {{"local_attn_size", config.local_attn_size},
             {"sink_size", config.sink_size},
             {"num_frame_per_chunk", config.num_frame_per_block}};
  if (sampling.sampler != "few_step") return ar;
  for (const double u : sampling.denoising_step_list) {
    const double time = 1000 * shifted(u / 1000, sampling.timestep_shift);
    ar["denoising_step_list"].push_back(time);
    ar["timesteps_index"].push_back(nearest_lightx2v_index(time, sampling.timestep_shift));
  }
  ar["context_noise"] = sampling.context_noise;
  return ar;
}

/// The JSON configuration that LightX2V's runner wan2.1_sf takes.
std::vector<TextFile> lightx2v_texts(const ExportSource& source) {
  const SamplingFacts& s = source.sampling;
  const bool few = s.sampler == "few_step" && !s.denoising_step_list.empty();
  const int64_t steps = few ? static_cast<int64_t>(s.denoising_step_list.size()) : s.steps;
  const bool guided = s.guidance_scale != 1.0;
  const Json json = {{"infer_steps", steps},
                     {"sample_shift", s.timestep_shift},
                     {"sample_guide_scale", s.guidance_scale},
                     {"enable_cfg", guided},
                     {"text_len", source.config.text_len},
                     {"dit_original_ckpt", "model.safetensors"},
                     {"causal_rope_type", "wan_causal_rope"},
                     {"ar_config", lightx2v_sampling(source.config, s)}};
  return {wan_config(source), {"lightx2v.json", json_text(json)}};
}

/// A pipeline folder without text encoder, tokenizer and VAE, which are the base model's.
std::vector<TextFile> diffusers_causal_texts(const ExportSource& source) {
  const ModelConfig& c = source.config;
  auto transformer = io::parse_json<Json>(diffusers_config_json(c), "transformer/config.json");
  transformer["_class_name"] = "CausalWanTransformer3DModel";
  transformer["text_len"] = c.text_len;
  transformer["local_attn_size"] = c.local_attn_size;
  transformer["sink_size"] = c.sink_size;
  transformer["num_frames_per_block"] = c.num_frame_per_block;
  // SGLang's cache has this many frames, where FastVideo's has local_attn_size.
  constexpr int64_t kWithoutWindow = 21;
  transformer["sliding_window_num_frames"] =
      c.local_attn_size > 0 ? c.local_attn_size : kWithoutWindow;
  const bool relative = c.local_attn_size > 0 && c.sink_size > 0 && !c.has_absolute_positions();
  transformer["rope_cache_policy"] = relative ? "relativistic" : "absolute";
  const Json index = {{"_class_name", "WanCausalDMDPipeline"},
                      {"_diffusers_version", kDiffusersVersion},
                      {"scheduler", {"diffusers", "UniPCMultistepScheduler"}},
                      {"text_encoder", {"transformers", "UMT5EncoderModel"}},
                      {"tokenizer", {"transformers", "T5TokenizerFast"}},
                      {"transformer", {"diffusers", "CausalWanTransformer3DModel"}},
                      {"vae", {"diffusers", "AutoencoderKLWan"}}};
  const Json scheduler = {{"_class_name", "UniPCMultistepScheduler"},
                          {"flow_shift", source.sampling.timestep_shift},
                          {"num_train_timesteps", 1000},
                          {"prediction_type", "flow_prediction"},
                          {"use_flow_sigmas", true}};
  return {{"model_index.json", json_text(index)},
          {"transformer/config.json", json_text(transformer)},
          {"scheduler/scheduler_config.json", json_text(scheduler)}};
}

std::vector<TextFile> videomla_texts(const ExportSource& source) {
  std::vector<TextFile> texts = {videomla_config(source),
                                 {"modeling_videomla.py", std::string(modeling_videomla_source())},
                                 {"pipeline_videomla.py", std::string(pipeline_videomla_source())}};
  if (source.sampling_is_known) {
    texts.push_back({"sampling.json", sampling_json(source.sampling)});
  }
  return texts;
}

Header plain_header(const ExportSource&) {
  return {{"format", "pt"}};
}

/// ComfyUI takes a file for a causal model by this entry.
Header causal_header(const ExportSource& source) {
  Header header = plain_header(source);
  if (source.sampling.causal) header["config"] = R"({"transformer": {"causal_ar": true}})";
  return header;
}

constexpr std::string_view kFolderFile = "diffusion_pytorch_model";

}  // namespace

const std::vector<ExportFormat>& export_formats() {
  using enum WeightFile;
  static const std::vector<ExportFormat> formats = {
      {"pt",
       "a file of torch.save: Self-Forcing and its successors, LightX2V, FlashDreams, Scope",
       true,
       false,
       false,
       "model.",
       kTorch,
       "model",
       pt_texts,
       plain_header},
      {"wan",
       "the original Wan folder",
       false,
       false,
       false,
       "",
       kShards,
       kFolderFile,
       wan_texts,
       plain_header},
      {"wan_single",
       "one safetensors file: ComfyUI, FlashDreams, Scope, diffusers' from_single_file",
       false,
       false,
       false,
       "",
       kSafetensors,
       "model",
       wan_texts,
       causal_header},
      {"lightx2v",
       "LightX2V: one safetensors file and its JSON configuration",
       false,
       true,
       false,
       "model.",
       kSafetensors,
       "model",
       lightx2v_texts,
       plain_header},
      {"diffusers",
       "diffusers' WanTransformer3DModel",
       false,
       false,
       true,
       "",
       kShards,
       kFolderFile,
       diffusers_texts,
       plain_header},
      {"diffusers_causal",
       "a pipeline folder of FastVideo and SGLang",
       false,
       true,
       true,
       "",
       kShards,
       "transformer/diffusion_pytorch_model",
       diffusers_causal_texts,
       plain_header},
      {"videomla",
       "VideoMLA with its Python code",
       true,
       false,
       false,
       "",
       kShards,
       kFolderFile,
       videomla_texts,
       plain_header},
  };
  return formats;
}

const ExportFormat& export_format(std::string_view name) {
  std::string names;
  for (const ExportFormat& format : export_formats()) {
    if (format.name == name) return format;
    names += (names.empty() ? "" : ", ") + std::string(format.name);
  }
  fail_user("--format {}: one of {} is needed", name, names);
}

}  // namespace vmla::model
