#include "launch/commands/convert.h"

#include "launch/shared_options.h"

namespace vmla::launch {

const CommandText ConvertArgs::kText = {
    "convert",
    "converts dense weights between Wan's files, diffusers' and those of torch.save",
    R"(The layout of --in is found by its tensor names, what training programs put in front of
them is left out, and values and types stay as they are. Without --to, --out gets the other
names, but from or to a file of torch.save Wan's. A .pt file holds {"state_dict": {name: tensor}}.

Examples:
  vmla convert --in Wan2.1-T2V-1.3B-Diffusers --out wan1.3b.safetensors
  vmla convert --in checkpoint_model_001000/model.pt --out student --to diffusers)"};

void ConvertArgs::define(OptionSet& options) {
  options
      .text("--in",
            in,
            "PATH",
            "dense weights: .safetensors, .pt, .pth, a Wan folder or a diffusers folder")
      .required();
  options
      .text("--out", out, "PATH", "a .safetensors, .pt or .pth file, or a folder with config.json")
      .required();
  options.choice("--to", to, {"wan", "diffusers"}, "whose names --out gets");
  add_weights_role(options, weights_role);
}

}  // namespace vmla::launch
