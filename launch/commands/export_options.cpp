#include "launch/commands/export.h"

#include "model/formats/export_format.h"

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
    "writes a checkpoint in the layout of an inference engine",
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

A model with latent attention has no exact dense form: videomla and pt alone hold it. launch/verify_export.py loads an
export with the programs that it is for, and adds what it found to the manifest.

Examples:
  vmla export --checkpoint runs/tiny/tf_svd --format videomla --out exported --dtype fp32
  vmla export --checkpoint runs/tiny/pretrain --format diffusers --out exported)"};

void ExportArgs::define(OptionSet& options) {
  add_checkpoint(options, *this);
  options
      .choice("--format",
              format,
              format_names(),
              "layout; MLA models: videomla or pt, dense models: all")
      .required();
  options.text("--out", out, "DIR", "folder to write").required();
  add_checkpoint_weights(options, *this);
  add_dtype(options, dtype, "type of the tensors");
  options
      .integer_from_1("--shard-bytes",
                      shard_bytes,
                      "most bytes of a file where the layout is split into shards; a larger tensor "
                      "has one to itself")
      .type("N");
}

}  // namespace vmla::launch
