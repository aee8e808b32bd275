#include "launch/commands/init.h"

#include "model/conversion/init_methods.h"
#include "trainer/config/config_yaml.h"

namespace vmla::launch {

const CommandText InitArgs::kText = {
    "init",
    "converts dense weights to latent attention",
    R"(Applies init.method of the configuration to a dense model and writes the converted model as a videomla export
(config.json and safetensors), with a report of what each layer lost: init_report.json. With model.bias: false the
query biases and rotary key biases of the dense model are dropped, and one line says how large they were.

Example:
  vmla init --weights runs/tiny/pretrain --config configs/tiny/teacher_forcing.yaml --out converted)"};

void InitArgs::define(OptionSet& options) {
  add_weights(options, weights, "dense weights: ");
  add_config(options,
             *this,
             "yaml file with the sections `model` (attention: mla) and `init` (method: " +
                 model::init_method_choice() + ")")
      .required();
  options.text("--data",
               data,
               "FILE",
               "latent dataset to calibrate on, for a method that looks at activations: "
               "init.calibration_clips "
               "of its clips");
  options
      .text("--out", out, "DIR", "videomla export to write, with a report of what each layer lost")
      .required();
  add_weights_role(options, weights_role);
}

CpuThreads InitArgs::front_check() const {
  trainer::check_config_syntax(config, set);
  return default_threads();
}

}  // namespace vmla::launch
