#include "launch/commands/export.h"

namespace vmla::launch {

const CommandText ExportArgs::kText = {
    "export",
    "writes a checkpoint in the layout of an inference engine",
    R"(Writes the weights with a config.json and export_manifest.json (hashes of the files, and the checks that
passed, each with its error). A model with latent attention has no exact dense form: use videomla.

Example:
  vmla export --checkpoint runs/tiny/tf_svd --format videomla --out exported --dtype fp32)"};

void ExportArgs::define(OptionSet& options) {
  add_checkpoint(options, *this);
  options
      .choice("--format",
              format,
              {"wan", "diffusers", "videomla"},
              "layout; MLA models: videomla, dense models: all")
      .required();
  options.text("--out", out, "DIR", "folder to write").required();
  add_checkpoint_weights(options, *this);
  add_dtype(options, dtype, "type of the tensors");
}

}  // namespace vmla::launch
