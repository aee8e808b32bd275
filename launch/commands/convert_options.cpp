#include "launch/commands/convert.h"

#include "launch/shared_options.h"

namespace vmla::launch {

const CommandText ConvertArgs::kText = {
    "convert",
    "converts dense weights between Wan and diffusers names",
    R"(The layout of --in is found by its tensor names; --out gets the other one.

Example:
  vmla convert --in Wan2.1-T2V-1.3B-Diffusers --out wan1.3b.safetensors)"};

void ConvertArgs::define(OptionSet& options) {
  options
      .text("--in", in, "PATH", "dense weights: .safetensors, a Wan folder or a diffusers folder")
      .required();
  options.text("--out", out, "PATH", "a .safetensors file, or a folder in the other layout")
      .required();
  add_weights_role(options, weights_role);
}

}  // namespace vmla::launch
