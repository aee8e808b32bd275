#include "launch/commands/export.h"

#include "model/formats/export_format.h"
#include "model/io/error.h"
#include "trainer/config/config_yaml.h"

namespace vmla::launch {

namespace {

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const model::ExportFormat& format : model::export_formats()) names.emplace_back(format.name);
  return names;
}

}  // namespace

const CommandText ExportArgs::kText = {
    "export",
    "writes a trained model in the layout of an inference engine",
    R"(Writes a folder: the weights, the configuration files that belong to the layout, a model card and
export_manifest.json (hashes of files and tensors, the checks that passed, and for each engine that opens the layout
its own values of window and sink and up to how many frames it computes what the model was trained to do).

  pt                a file of torch.save: Self-Forcing and its successors, LightX2V, FlashDreams, Scope
  wan               the original Wan folder
  wan_single        one safetensors file: ComfyUI, FlashDreams, Scope, diffusers' from_single_file
  lightx2v          LightX2V: one safetensors file and its JSON configuration
  diffusers         diffusers' WanTransformer3DModel
  diffusers_causal  a pipeline folder of FastVideo and SGLang
  videomla          VideoMLA with its Python code

What is no checkpoint does not say how it is sampled, unless `vmla export` wrote it. --config, the yaml of the stage that
it is from or for, says it: sampler, steps, timestep shift, whether chunk by chunk, and the model's window and chunks.
lightx2v and diffusers_causal need it, the others write their guess of what is causal (latent attention, a window).

A model with latent attention has no exact dense form: videomla and pt alone hold it. launch/verify_export.py loads an
export with the programs that it is for, and adds what it found to the manifest.

Examples:
  vmla export --checkpoint runs/tiny/tf_svd --format videomla --out exported --dtype fp32
  vmla export --checkpoint runs/tiny/pretrain --format diffusers --out exported
  vmla export --checkpoint student.pt --config configs/tiny/dmd.yaml --set model.attention=dense \
    --format lightx2v --out exported
  vmla export --checkpoint converted --format pt --out exported)"};

void ExportArgs::define(OptionSet& options) {
  options
      .text("--checkpoint",
            checkpoint,
            "PATH",
            "a checkpoint or run folder; or other weights: a folder of `vmla init`, `convert` or "
            "`export`, of Wan or diffusers, a .safetensors or .pt file")
      .required();
  options
      .choice("--format",
              format,
              format_names(),
              "layout; MLA models: videomla or pt, dense models: all")
      .required();
  options.text("--out", out, "DIR", "folder to write").required();
  add_checkpoint_weights(options, *this);
  add_config(options,
             *this,
             "yaml file of a stage: how weights that are no checkpoint are sampled",
             "set a key over the file's, or one of model over the weights' own; may be repeated");
  add_dtype(options, dtype, "type of the tensors");
  options
      .integer_from_1("--shard-bytes",
                      shard_bytes,
                      "most bytes of a file where the layout is split into shards; a larger tensor "
                      "has one to itself")
      .type("N");
}

CpuThreads ExportArgs::front_check() const {
  for (const std::string& key : set) {
    if (config.empty() && !key.starts_with("model."))
      fail_user("export: --set {} needs --config, the yaml of a stage", key);
  }
  if (!config.empty() || !set.empty()) trainer::check_config_syntax(config, set);
  return default_threads();
}

}  // namespace vmla::launch
