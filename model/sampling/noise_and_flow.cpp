#include "model/sampling/noise_and_flow.h"

#include <ATen/ATen.h>

#include "model/sampling/flow_match_schedule.h"

namespace vmla::model {

at::Tensor add_noise(const at::Tensor& clean, const at::Tensor& noise, double sigma) {
  return (1.0 - sigma) * clean + sigma * noise;
}
at::Tensor add_noise(const at::Tensor& clean, const at::Tensor& noise, const at::Tensor& sigma) {
  return (1.0 - sigma) * clean + sigma * noise;
}

at::Tensor clean_from_flow(const at::Tensor& noisy, const at::Tensor& flow, double sigma) {
  return noisy - sigma * flow;
}
at::Tensor clean_from_flow(const at::Tensor& noisy,
                           const at::Tensor& flow,
                           const at::Tensor& sigma) {
  return noisy - sigma * flow;
}

at::Tensor euler_step(const at::Tensor& x, const at::Tensor& flow, double from, double to) {
  return x + flow * ((to - from) / kTrainTimesteps);
}

}  // namespace vmla::model
