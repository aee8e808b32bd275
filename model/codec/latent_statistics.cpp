#include "model/codec/latent_statistics.h"

#include <ATen/ATen.h>

#include "kernels/host_transfer.h"

namespace vmla::model {
namespace {

at::Tensor row(const std::vector<double>& values, const at::Tensor& like) {
  return kernels::upload(at::tensor(values, at::kFloat), like.device());
}

}  // namespace

LatentStatistics LatentStatistics::wan21() {
  return {.mean = {-0.7571,
                   -0.7089,
                   -0.9113,
                   0.1075,
                   -0.1745,
                   0.9653,
                   -0.1517,
                   1.5508,
                   0.4134,
                   -0.0715,
                   0.5517,
                   -0.3632,
                   -0.1922,
                   -0.9497,
                   0.2503,
                   -0.2921},
          .deviation = {2.8184,
                        1.4541,
                        2.3275,
                        2.6558,
                        1.2196,
                        1.7708,
                        2.6052,
                        2.0743,
                        3.2687,
                        2.1526,
                        2.8652,
                        1.5579,
                        1.6382,
                        1.1253,
                        2.8251,
                        1.9160}};
}

at::Tensor LatentStatistics::normalised(const at::Tensor& latent_C) const {
  return (latent_C.to(at::kFloat) - row(mean, latent_C)).div_(row(deviation, latent_C));
}

at::Tensor LatentStatistics::restored(const at::Tensor& normalised_C) const {
  return (normalised_C.to(at::kFloat) * row(deviation, normalised_C)).add_(row(mean, normalised_C));
}

}  // namespace vmla::model
