#include "trainer/roles/stage_precision.h"

#include "kernels/host_transfer.h"
#include "model/weights/local_weights.h"
#include "trainer/objectives/objective.h"

#include <ATen/ATen.h>

namespace vmla::trainer {

at::ScalarType compute_dtype(const TrainConfig& config) {
  if (config.train.precision == "fp64") return at::kDouble;
  return config.train.precision == "bf16" ? at::kBFloat16 : at::kFloat;
}

// Where products are bf16, inputs stay fp32 until a product casts them.
at::ScalarType input_dtype(const TrainConfig& config) {
  return model::exact_dtype(compute_dtype(config));
}

void place_inputs(const TrainConfig& config, model::TensorMap& inputs) {
  const at::Device device(config.train.device);
  for (auto& [name, tensor] : inputs) {
    if (tensor.is_floating_point()) tensor = tensor.to(input_dtype(config));
    if (!stays_on_host(tensor)) tensor = kernels::upload(tensor, device);
  }
}

}  // namespace vmla::trainer
